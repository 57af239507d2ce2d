"""A bundle that was changed is refused; its report can be made from it alone."""

import json
import shutil

import pytest

from fixture_bundle import make_consistent, unpack, write_hashes
from helpers import tinsmith
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, read_jsonl, write_json, write_jsonl
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
    write_hashes(bundle)


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
    assert rescore(bundle / "model", bundle / "items", precision="bfloat16", device="cpu")
    forge(bundle, "model/model.safetensors", other_weights)
    with pytest.raises(BundleError, match=r"model.*scores item .* differently from what is stored"):
        rescore(bundle / "model", bundle / "items", precision="bfloat16", device="cpu")


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


# Forgeries that agree with themselves: after each, figures, evidence and hashes are computed again.


def rows_of(pattern, keep=lambda row: True, change=lambda row: row):
    """Return a forgery of the items that match a pattern: rows left out, or changed."""

    def forged(bundle):
        paths = list((bundle / "items").glob(pattern))
        assert paths
        for path in paths:
            rows = [change(row) for row in read_jsonl(path) if keep(row)]
            write_jsonl(path, rows)

    return forged


def without(*patterns, subject=""):
    """Return a forgery that removes files, and a subject from the figures."""

    def forged(bundle):
        for pattern in patterns:
            paths = list(bundle.glob(pattern))
            assert paths
            for path in paths:
                path.unlink()
        if subject:
            path = bundle / "data" / "metrics.json"
            stored = read_json(path)
            stored["subjects"] = [row for row in stored["subjects"] if row["subject"] != subject]
            write_json(path, stored)

    return forged


def with_subject(name, like, role):
    """Return a forgery that adds a subject with the items of another."""

    def forged(bundle):
        for path in list((bundle / "items").glob(f"*-{like}.json*")):
            shutil.copyfile(path, path.with_name(path.name.replace(f"-{like}.", f"-{name}.")))
        path = bundle / "data" / "metrics.json"
        stored = read_json(path)
        row = next(row for row in stored["subjects"] if row["subject"] == like)
        stored["subjects"].append(row | {"subject": name, "role": role})
        write_json(path, stored)

    return forged


FORGERIES = {
    "figures removed": (without("data/metrics.json"), r"metrics\.json: is missing, so no figure can be"),
    "base removed": (
        without("items/*-base.json*", subject="base"),
        "base is missing from the subjects, though the recipe has its base measured",
    ),
    "rival removed": (
        without("items/*-model-q8_0.json*", subject="model-q8_0"),
        r"the rival .*model-q8_0\.gguf of the recipe is missing",
    ),
    "4-bit file unscored": (
        without("items/*-trained-4bit.json*", subject="trained-4bit"),
        "trained-4bit is missing from the subjects, though the recipe has our q4_k_m file measured",
    ),
    "4-bit file removed": (
        without("items/*-trained-4bit.json*", "gguf/model-q4_k_m.gguf", subject="trained-4bit"),
        r"model-q4_k_m\.gguf: is missing, and package\.formats names it",
    ),
    "weights removed": (without("model/*.safetensors"), "model: holds no weights"),
    "baseline removed": (
        without("items/*-ngram.json*", subject="ngram"),
        "the baseline ngram is missing from the subjects",
    ),
    "rival added": (
        with_subject("weak", "model-q8_0", "rival"),
        "has other models than its recipe names: model-q8_0, weak",
    ),
    "bits of a rival removed": (without("items/bits-model-q8_0.jsonl"), "bits-model-q8_0.*: is missing, so"),
    "task removed": (
        rows_of("*.jsonl", keep=lambda row: row.get("task") != "category"),
        "holds no question of category, which the recipe names",
    ),
    "own questions removed": (
        rows_of("*.jsonl", keep=lambda row: row.get("task") != "questions_rent"),
        "holds no question of questions_rent, which the recipe names",
    ),
    "answers removed": (
        rows_of("exam-base.jsonl", keep=lambda row: row["task"] != "next_passage" or not row["correct"]),
        r"exam-base\.jsonl: does not answer item next_passage.* after 0 examples",
    ),
    "shots removed": (
        rows_of("exam-*.jsonl", keep=lambda row: not row["shots"]),
        r"does not answer item category:\w+ after 1 examples",
    ),
    "general test removed": (
        without("items/general-*.jsonl"),
        "holds no row of the test agreement, which the recipe names",
    ),
    "bias of the base removed": (
        without("items/bias-base.jsonl"),
        r"bias-base\.jsonl: is missing, though trained",
    ),
    "easier documents for one": (
        rows_of("bits-trained.jsonl", change=lambda row: row | {"doc_id": row["doc_id"][::-1]}),
        r"bits-\S+\.jsonl: does not score the same bytes of the same documents",
    ),
    "bytes of one made more": (
        rows_of("bits-trained.jsonl", change=lambda row: row | {"bytes": 2 * row["bytes"]}),
        r"bits-\S+\.jsonl: does not score the same bytes of the same documents",
    ),
}


@pytest.fixture(scope="module")
def genuine(tmp_path_factory):
    """Return a bundle with base, rival, own questions and a general test, of few resamples so that it is quick."""
    bundle = unpack(tmp_path_factory.mktemp("genuine"))
    recipe = read_json(bundle / "recipe.json")
    recipe["evaluate"] |= {"bootstrap": 100, "bounds": {}}
    write_json(bundle / "recipe.json", recipe)
    make_consistent(bundle)
    assert verify(bundle).figures > 900
    return bundle


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_that_agrees_with_itself_is_named(genuine, tmp_path, name):
    bundle = shutil.copytree(genuine, tmp_path / "bundle")
    change, words = FORGERIES[name]
    change(bundle)
    make_consistent(bundle)
    with pytest.raises(BundleError, match=words):
        verify(bundle)
