"""A bundle that was changed is refused; its report can be made from it alone."""

import json
import shutil

import pytest

from helpers import tinsmith
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, sha256_file, sha256_json, write_json
from tinsmith.bundle import rebuild, verify
from tinsmith.evaluate.rescore import rescore


@pytest.fixture
def bundle(smoke, tmp_path):
    return shutil.copytree(smoke / "bundle", tmp_path / "bundle")


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_whole_bundle_passes(bundle):
    found = verify(bundle, deep=True)
    assert found.files > 10
    assert found.bytes > 1e6
    stored = read_json(bundle / "data" / "metrics.json")
    assert found.figures >= 3 * (len(stored["metrics"]) + len(stored["comparisons"]))
    assert found.items > 4
    assert verify(bundle).items == 0
    assert found.sentences


@pytest.mark.parametrize(
    "pattern",
    ["evidence.json", "report.html", "model/*.safetensors", "gguf/*.gguf", "items/*.jsonl", "pages/*.html"],
)
def test_one_changed_byte_is_found(bundle, pattern):
    path = min(bundle.glob(pattern))
    flip_a_byte(path)
    with pytest.raises(BundleError, match=path.name):
        verify(bundle)


def forge(bundle, name, change):
    """Change a file and write hashes that fit, as somebody would who wants to be believed."""
    path = bundle / name
    path.write_bytes(change(path.read_bytes()))
    manifest = read_json(bundle / "manifest.json")
    manifest["outputs"][name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    manifest["digest"] = sha256_json({file: row["sha256"] for file, row in manifest["outputs"].items()})
    write_json(bundle / "manifest.json", manifest)


def change_figure(bundle, kind, subject):
    """Make the first figure of a subject better by a hundredth."""

    def change(data):
        content = json.loads(data)
        row = next(row for row in content[kind] if subject in row.values())
        field = "value" if kind == "metrics" else "difference"
        row[field] = round(row[field] - 0.01, 6)
        return json.dumps(content).encode()

    forge(bundle, "data/metrics.json", change)


@pytest.mark.parametrize(
    ("kind", "subject"), [("metrics", "trained"), ("metrics", "ngram"), ("comparisons", "ngram")]
)
def test_a_forged_figure_is_named_though_hashes_fit(bundle, kind, subject):
    change_figure(bundle, kind, subject)
    with pytest.raises(BundleError, match=rf"metrics\.json: .*{subject}.*: \w+ is .* the items give"):
        verify(bundle)


def test_a_figure_that_was_left_out_is_missed(bundle):
    def change(data):
        content = json.loads(data)
        content["metrics"] = [row for row in content["metrics"] if row["subject"] != "ngram"]
        return json.dumps(content).encode()

    forge(bundle, "data/metrics.json", change)
    with pytest.raises(BundleError, match=r"ngram, .* is missing"):
        verify(bundle)


def test_forged_items_are_named_though_hashes_fit(bundle):
    def more_bits(data):
        first, *rest = data.splitlines(keepends=True)
        row = json.loads(first)
        return json.dumps(row | {"bits": row["bits"] * 0.9}).encode() + b"\n" + b"".join(rest)

    forge(bundle, "items/bits-trained.jsonl", more_bits)
    with pytest.raises(BundleError, match=r"trained, bits_per_byte"):
        verify(bundle)


def test_an_answer_that_its_scores_do_not_give_is_named(bundle):
    def all_right(data):
        rows = [json.loads(line) for line in data.splitlines()]
        return b"".join(
            json.dumps(row | {"prediction": row["answer"], "correct": True}).encode() + b"\n" for row in rows
        )

    forge(bundle, "items/exam-trained.jsonl", all_right)
    with pytest.raises(BundleError, match=r"exam-trained\.jsonl: item .*: prediction is .* its scores give"):
        verify(bundle)


def test_a_forged_evidence_is_named_though_hashes_fit(bundle):
    forge(bundle, "evidence.json", lambda data: data.replace(b'"outcome": "worse"', b'"outcome": "better"'))
    with pytest.raises(BundleError, match=r"evidence\.json: .*outcome is not what the files"):
        verify(bundle)


def other_weights(data):
    size = 8 + int.from_bytes(data[:8], "little")
    return data[:size] + bytes(byte ^ (0x80 * (place % 4 == 3)) for place, byte in enumerate(data[size:]))


def test_forged_weights_are_found_though_scores_were_rounded(bundle):
    assert rescore(bundle / "model", bundle / "items", precision="bfloat16")
    forge(bundle, "model/model.safetensors", other_weights)
    with pytest.raises(BundleError, match=r"model.*scores item .* differently from what is stored"):
        rescore(bundle / "model", bundle / "items", precision="bfloat16")


def test_a_bundle_cannot_choose_its_precision(bundle):
    forge(
        bundle,
        "data/metrics.json",
        lambda data: data.replace(b'"precision": "float32"', b'"precision": "bfloat16"'),
    )
    with pytest.raises(BundleError, match="says it was scored in bfloat16, its recipe in float32"):
        verify(bundle)


def test_forged_weights_are_found_by_asking_them(bundle):
    forge(bundle, "model/model.safetensors", other_weights)
    assert verify(bundle).figures
    with pytest.raises(BundleError, match=r"model.*scores item .* differently from what is stored"):
        verify(bundle, deep=True)


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
