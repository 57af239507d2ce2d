"""A finished bundle: check it, rebuild its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinsmith.foundation.errors import BundleError
from tinsmith.foundation.files import list_files, read_json, sha256_file, sha256_json, write_json

MANIFEST = "manifest.json"
REBUILT = ("report.html", "evidence.json")
_MEND = "do not trust this bundle; take a whole copy, or remove the stages package, evaluate and bundle and build again"


def verify(bundle: Path) -> tuple[int, int]:
    """Check every hash of a bundle; return (files, bytes). Raises BundleError that names the first fault."""
    manifest = _read_manifest(bundle)
    total = _check_files(bundle, manifest, skip=())
    extra = {str(name) for name in list_files(bundle)} - set(manifest["outputs"]) - {MANIFEST}
    if extra:
        raise BundleError(
            "does not belong to the bundle",
            where=str(bundle / min(extra)),
            next_step="remove it, or build again",
        )
    return len(manifest["outputs"]), total


def _check_files(bundle: Path, manifest: dict[str, Any], *, skip: tuple[str, ...]) -> int:
    if _digest(manifest["outputs"]) != manifest["digest"]:
        raise BundleError(
            "lists hashes that do not add up to its digest", where=str(bundle / MANIFEST), next_step=_MEND
        )
    total = 0
    for name, row in manifest["outputs"].items():
        if name in skip:
            continue
        path = bundle / name
        if not path.is_file():
            raise BundleError(
                "is missing", where=str(path), next_step="take a whole copy of the bundle, or build again"
            )
        if path.stat().st_size != row["bytes"] or sha256_file(path) != row["sha256"]:
            raise BundleError(
                f"was changed: its sha256 is not {row['sha256'][:16]}...",
                where=str(path),
                next_step=_MEND,
            )
        total += row["bytes"]
    return total


def rebuild(bundle: Path) -> Path:
    """Make the report anew from the bundle alone and note its hash; return the page."""
    from tinsmith.report.page import rebuild_report

    manifest = _read_manifest(bundle)
    _check_files(bundle, manifest, skip=REBUILT)
    rebuild_report(bundle)
    for name in REBUILT:
        path = bundle / name
        manifest["outputs"][name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    manifest["digest"] = _digest(manifest["outputs"])
    write_json(bundle / MANIFEST, manifest)
    return bundle / "report.html"


def _digest(outputs: dict[str, Any]) -> str:
    return sha256_json({name: row["sha256"] for name, row in outputs.items()})


def _read_manifest(bundle: Path) -> dict[str, Any]:
    path = bundle / MANIFEST
    if not path.is_file():
        raise BundleError(
            "is no bundle: it has no manifest.json",
            where=str(bundle),
            next_step="name a directory `bundle` that tinsmith build made",
        )
    try:
        manifest = dict(read_json(path))
        manifest["outputs"], manifest["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"is damaged ({error})",
            where=str(path),
            next_step="take a whole copy of the bundle, or build again",
        ) from None
    return manifest
