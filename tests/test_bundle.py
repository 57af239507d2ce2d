"""A bundle that was changed is refused; its report can be made from it alone."""

import shutil

import pytest

from helpers import tinsmith
from tinsmith.bundle import rebuild, verify
from tinsmith.foundation.errors import BundleError
from tinsmith.foundation.files import read_json


@pytest.fixture
def bundle(smoke, tmp_path):
    return shutil.copytree(smoke / "bundle", tmp_path / "bundle")


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_whole_bundle_passes(bundle):
    files, size = verify(bundle)
    assert files > 10
    assert size > 1e6


@pytest.mark.parametrize(
    "pattern", ["evidence.json", "report.html", "model/*.safetensors", "gguf/*.gguf", "items/*.jsonl"]
)
def test_one_changed_byte_is_found(bundle, pattern):
    path = min(bundle.glob(pattern))
    flip_a_byte(path)
    with pytest.raises(BundleError, match=path.name):
        verify(bundle)


def test_missing_and_foreign_files_are_found(bundle):
    (bundle / "foreign.txt").write_text("x")
    with pytest.raises(BundleError, match=r"foreign\.txt.*does not belong"):
        verify(bundle)
    (bundle / "foreign.txt").unlink()
    (bundle / "report.html").unlink()
    with pytest.raises(BundleError, match=r"report\.html.*missing"):
        verify(bundle)


def test_a_damaged_manifest_is_refused(bundle):
    manifest = bundle / "manifest.json"
    text = manifest.read_text()
    row = read_json(manifest)["outputs"]["evidence.json"]["sha256"]
    manifest.write_text(text.replace(row, "0" * 64))
    with pytest.raises(BundleError):
        verify(bundle)
    manifest.write_text(text[: len(text) // 2])
    with pytest.raises(BundleError, match="damaged"):
        verify(bundle)


def test_the_report_is_made_from_the_bundle_alone(bundle):
    page, evidence = (bundle / "report.html").read_bytes(), (bundle / "evidence.json").read_bytes()
    (bundle / "report.html").unlink()
    (bundle / "evidence.json").unlink()
    assert rebuild(bundle) == bundle / "report.html"
    assert (bundle / "report.html").read_bytes() == page
    assert (bundle / "evidence.json").read_bytes() == evidence
    assert tinsmith("verify", bundle).returncode == 0
