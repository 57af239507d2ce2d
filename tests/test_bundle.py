"""A bundle that was changed is refused; its report can be made from it alone."""

import json
import shutil
from fnmatch import fnmatch

import pytest
from typer.testing import CliRunner

from fixture_bundle import make_consistent, unpack, write_hashes
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, read_jsonl, write_json, write_jsonl
from tinsmith.bundle import rebuild, verify
from tinsmith.cli import app
from tinsmith.evaluate.families import families
from tinsmith.evaluate.rescore import rescore
from tinsmith.evidence.family import Items
from tinsmith.report.compare import first_difference
from tinsmith.report.evidence import build_evidence
from tinsmith.report.schema import Evidence
from tinsmith.report.trust import ON_TRUST


@pytest.fixture
def bundle(smoke, tmp_path):
    return shutil.copytree(smoke / "bundle", tmp_path / "bundle")


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_whole_bundle_passes(smoke):
    found = verify(smoke / "bundle", deep=True)
    assert found.files > 10
    assert found.bytes > 1e6
    stored = read_json(smoke / "bundle" / "data" / "metrics.json")
    assert found.figures >= 3 * (len(stored["metrics"]) + len(stored["comparisons"]))
    assert found.again.scores > 2 * (8 + 4)
    assert found.again.subjects == ("trained", "trained-4bit")
    assert found.again.device in ("cpu", "cuda")
    assert found.sentences
    # What was asked again need not be believed.
    assert not any(line.startswith(("items/bits-trained", "items/exam-trained")) for line in found.trust)


def test_what_nothing_proves_is_named(smoke, genuine):
    printed = CliRunner().invoke(app, ["verify", str(smoke / "bundle")]).output
    assert "taken on trust, since nothing in the bundle proves it (a signature could" in printed
    for words in (
        "manifests/*.json: seconds, joules and how they were measured, memory, attempts, machine",
        "loss, tokens and seconds of each training step, how steps were computed, and incidents",
        "items/bits-trained*: bits of our model and its files",
        "items/speed-*: seconds and joules of generated answers",
        "items/bias-*: answers of our model and its base in the audits",
    ):
        assert words in printed
    assert "rollbacks" not in printed  # only what is there
    patterns = [pattern for row in ON_TRUST for pattern in row.files]
    patterns += [f"items/{family.kind}-*" for family in families() if family.prepare]
    for bundle in (smoke / "bundle", genuine):
        for name in read_json(bundle / "manifest.json")["outputs"]:
            assert name == "evidence.json" or any(fnmatch(name, pattern) for pattern in patterns), name


def test_every_field_of_the_evidence_is_computed_again_or_named(genuine):
    """A new field fails here: it is recomputed, and a forgery of it is added below, or it is listed by verify."""
    named = {field for row in ON_TRUST for field in row.fields}
    from_recipe = {
        "recipe",
        "title",
        "base",
        "fresh",
        "teacher",
        "tasks",
        "rivals",
        "confidence",
        "grid",
        "has_documents",
    }
    computed = {"format", "precision", "metrics", "comparisons", "ladder", "bounds", "generated", "gguf"}
    computed |= {"verdict", "findings", "not_proven", "yardsticks", "first", "jobs"}
    assert named | from_recipe | computed == set(Evidence.model_fields)
    evidence = build_evidence(genuine, families())
    stored = evidence.to_json()
    for field in stored.keys() - {"format"}:
        assert first_difference(stored | {field: "forged"}, evidence) == field
        assert first_difference({key: stored[key] for key in stored if key != field}, evidence) == field


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


def test_a_bundle_cannot_choose_its_precision(bundle):
    forge(
        bundle,
        "data/metrics.json",
        lambda data: data.replace(b'"precision": "float32"', b'"precision": "bfloat16"'),
    )
    with pytest.raises(BundleError, match="says it was scored in bfloat16, its recipe in float32"):
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
    assert CliRunner().invoke(app, ["verify", str(bundle)]).exit_code == 0


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


def json_at(name, *path, value):
    """Return a forgery of one value in a JSON file."""

    def forged(bundle):
        content = read_json(bundle / name)
        inside = content
        for step in path[:-1]:
            inside = inside[step]
        assert inside[path[-1]] != value
        inside[path[-1]] = value
        write_json(bundle / name, content)

    return forged


def other_bytes(name, share):
    """Return a forgery that negates the bytes of a file behind a share of it."""

    def forged(bundle):
        data = (bundle / name).read_bytes()
        start = int(share * len(data))
        (bundle / name).write_bytes(data[:start] + bytes(255 - byte for byte in data[start:]))

    return forged


def answer_all(row):
    """Return an answer whose scores say that the right choice was the likeliest."""
    return row | {
        "scores": row["scores"] | {row["answer"]: 0.0},
        "prediction": row["answer"],
        "correct": True,
    }


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
    "a smaller model": (
        json_at("data/metrics.json", "subjects", 1, "bytes", value=1000),
        r"subjects, \S+: bytes is 1000, its file gives \d+",
    ),
    "a smaller divergence": (
        json_at("data/parity.json", "formats", "q8_0", "mean_kl", value=1e-5),
        r"parity\.json: formats, q8_0: mean_kl is 1e-05, the bundle gives 3\.4",
    ),
    "more agreement": (
        json_at("data/parity.json", "formats", "q4_k_m", "top1", value=1.0),
        r"parity\.json: formats, q4_k_m: top1 is 1\.0, the bundle gives 0\.99",
    ),
    "a smaller divergence of the server": (
        json_at("data/parity.json", "formats", "server", "mean_kl", value=1e-6),
        r"parity\.json: formats, server: mean_kl is 1e-06",
    ),
    "another bound": (
        json_at("data/parity.json", "formats", "q8_0", "bound_kl", value=0.05),
        r"parity\.json: formats, q8_0: bound_kl is 0\.05, the bundle gives 0\.4",
    ),
    "a prompt of one export removed": (
        rows_of("parity.jsonl", keep=lambda row: (row["format"], row["prompt"]) != ("q8_0", 3)),
        r"parity\.json: formats, q8_0: ",
    ),
    "other types of tensors": (
        json_at("data/parity.json", "tensors", "q4_k_m", "Q8_0", value=22),
        r"parity\.json: tensors, q4_k_m: Q8_0 is 22, the bundle gives 3",
    ),
    "an export out of bounds": (
        json_at("recipe.json", "package", "max_kl", "q8_0", value=1e-9),
        r"parity\.json: formats, q8_0: bound_kl is 0\.4, the bundle gives 1e-09",
    ),
    "exports not compared": (without("data/parity.json"), r"parity\.json: is missing"),
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
    "an audit removed": (
        without("items/leakage-*.jsonl"),
        r"metrics\.json: neither measures leakage, which the recipe asks for, nor says why",
    ),
    "an endpoint that was never asked": (
        json_at("recipe.json", "evaluate", "endpoints", value=[{"name": "api", "model": "m"}]),
        "the endpoint api of the recipe is missing from the systems",
    ),
    "answers in words that are not there": (
        json_at("recipe.json", "evaluate", "generated_items", value=4),
        "our model is missing from the systems that answered in words",
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


def test_a_file_of_noise_is_refused(genuine, tmp_path):
    bundle = shutil.copytree(genuine, tmp_path / "bundle")
    other_bytes("gguf/model-q4_k_m.gguf", 0.0)(bundle)
    write_hashes(bundle)
    with pytest.raises(BundleError, match=r"model-q4_k_m\.gguf: is not a readable GGUF"):
        verify(bundle)


def hardest_left_out(bundle):
    """Leave out of all files the document that takes most bits a byte, which the seed drew."""
    rows = list(read_jsonl(bundle / "items" / "bits-trained.jsonl"))
    name = max(rows, key=lambda row: row["bits"] / row["bytes"])["doc_id"]
    for pattern in ("bits-*.jsonl", "texts.jsonl"):
        rows_of(pattern, keep=lambda row: row["doc_id"] != name)(bundle)


def other_order(bundle):
    for path in (bundle / "items").glob("bits-*.jsonl"):
        write_jsonl(path, list(read_jsonl(path))[::-1])


def other_answers(bundle):
    """Call another choice right, in the questions and in all answers to them."""
    path = bundle / "items" / "questions.jsonl"
    rows = list(read_jsonl(path))
    right = {}
    for row in rows:
        if row["task"] == "next_passage":
            row["answer"] = right[row["item"]] = row["choices"][row["choices"].index(row["answer"]) - 1]
    write_jsonl(path, rows)

    def changed(row):
        answer = right.get(row["item"], row["answer"])
        return row | {"answer": answer, "correct": row["prediction"] == answer}

    rows_of("exam-*.jsonl", change=changed)(bundle)


NEW_FORGERIES = {
    "other documents": (other_order, "scores other documents than the recipe's seed draws"),
    "less overlap": (
        rows_of("bits-*.jsonl", change=lambda row: row | {"overlap": row["overlap"] / 2}),
        r"gives an overlap that is not that of overlap\.parquet",
    ),
    "longer texts": (
        rows_of("bits-*.jsonl", change=lambda row: row | {"bytes": 2 * row["bytes"]}),
        r"texts\.jsonl: holds other texts than those that were scored",
    ),
    "another right answer": (
        other_answers,
        r"questions\.jsonl: item next_passage.*does not stand in its document",
    ),
}
# What only the models themselves can contradict: `verify` passes, `verify --deep` does not.
DEEP_FORGERIES = {
    "bits of ours times 0.7": (
        rows_of("bits-trained.jsonl", change=lambda row: row | {"bits": 0.7 * row["bits"]}),
        r"bundle/model: scores document \w+ differently from what is stored",
    ),
    "bits of the 4-bit file times 0.99": (
        rows_of("bits-trained-4bit.jsonl", change=lambda row: row | {"bits": 0.99 * row["bits"]}),
        r"model-q4_k_m\.gguf: scores document \w+ differently from what is stored",
    ),
    "bits that differ by less, all one way": (
        rows_of("bits-trained.jsonl", change=lambda row: row | {"bits": 0.9993 * row["bits"]}),
        r"bundle/model: scores 8 documents together differently from what is stored",
    ),
    "all answers right": (
        rows_of("exam-trained.jsonl", change=answer_all),
        r"bundle/model: scores item \S+ differently from what is stored",
    ),
    "another file that was not scored": (
        other_bytes("gguf/model-q8_0.gguf", 0.9),
        r"q8_0: .* other values",
    ),
}


def test_a_document_that_was_left_out_of_all_is_named(smoke, tmp_path):
    bundle = shutil.copytree(smoke / "bundle", tmp_path / "bundle")
    assert not any("left out" in line for line in verify(bundle).trust)
    hardest_left_out(bundle)
    make_consistent(bundle)
    assert verify(bundle).trust[-1].endswith("a tokenizer does not restore 1 drawn document(s), left out")


@pytest.mark.parametrize("name", NEW_FORGERIES)
def test_a_forgery_of_texts_is_named(smoke, tmp_path, name):
    bundle = shutil.copytree(smoke / "bundle", tmp_path / "bundle")
    change, words = NEW_FORGERIES[name]
    change(bundle)
    make_consistent(bundle)
    with pytest.raises(BundleError, match=words):
        verify(bundle)


@pytest.mark.parametrize("name", DEEP_FORGERIES)
def test_what_the_models_contradict_is_named_by_deep(smoke, tmp_path, name):
    bundle = shutil.copytree(smoke / "bundle", tmp_path / "bundle")
    change, words = DEEP_FORGERIES[name]
    change(bundle)
    make_consistent(bundle)
    assert verify(bundle).figures
    with pytest.raises(BundleError, match=words):
        verify(bundle, deep=True)


def test_rounded_scores_are_compared_with_room_for_rounding(smoke, tmp_path):
    """Stored in bfloat16, scores differ by up to a few percent: not by 30."""
    bundle = shutil.copytree(smoke / "bundle", tmp_path / "bundle")
    for factor, passes in ((1.004, True), (0.7, False)):
        rows_of("bits-trained.jsonl", change=lambda row: row | {"bits": factor * row["bits"]})(bundle)  # noqa: B023
        items = Items(bundle / "items", bundle / "gguf", bundle / "items" / "parity.jsonl", ("trained",))
        if passes:
            assert rescore(bundle, items, window=128, precision="bfloat16", device="cpu").scores
        else:
            with pytest.raises(BundleError, match="scores document"):
                rescore(bundle, items, window=128, precision="bfloat16", device="cpu")
