"""A bundle of an earlier version, made before families had one home, can still be checked and its report rebuilt."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from fixture_bundle import unpack
from test_bundle import forge
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json
from tinsmith.bundle import rebuild, verify
from tinsmith.cli import app
from tinsmith.evaluate.families import families
from tinsmith.report.compare import decided_by_interval, first_difference
from tinsmith.report.evidence import build_evidence

FIGURES = 987  # that the earlier version computed again


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def evidence(unpacked):
    return build_evidence(unpacked, families(), by_interval=True)


@pytest.fixture
def bundle(unpacked, tmp_path):
    return shutil.copytree(unpacked, tmp_path / "bundle")


def figures(bundle):
    rows = read_json(bundle / "evidence.json")["metrics"]
    return [tuple(row[field] for field in ("subject", "metric", "value", "low", "high")) for row in rows]


def test_it_passes_and_its_model_gives_the_same_scores(unpacked):
    checked = verify(unpacked, deep=True)
    assert checked.figures >= FIGURES
    assert checked.again.scores == 3 * 16
    assert checked.again.subjects == ("trained", "trained-4bit", "trained-q8_0")
    assert not checked.sentences
    # It holds no texts, so bits are believed; questions are asked again.
    assert "items/bits-trained*: bits of our model and its files" in checked.trust
    assert not any(line.startswith("items/exam-trained*") for line in checked.trust)


def test_the_command_says_that_its_sentences_were_not_compared(unpacked):
    printed = CliRunner().invoke(app, ["verify", str(unpacked)]).output
    assert "sentences were written by an earlier version and were not compared" in printed
    assert "evidence.json: its sentences, which an earlier version worded otherwise" in printed


def test_its_report_can_be_rebuilt_with_the_same_figures(bundle):
    before = figures(bundle)
    rebuild(bundle)
    assert figures(bundle) == before
    assert read_json(bundle / "evidence.json")["format"] == 4
    first, _, page = (bundle / "report.html").read_text(encoding="utf-8").partition("<main>")
    summary = page.partition("</section>")[0]
    # What stands there are only the findings that their family sends there; the first screen counts them.
    assert '<a href="#leakage">That planted secrets are memorised is not shown</a>' in summary
    assert 'href="#summary">1 more</a>' in first
    assert "No trigger" not in first + summary
    checked = verify(bundle)
    assert checked.sentences
    assert checked.figures >= FIGURES
    forge(
        bundle,
        "evidence.json",
        lambda data: data.replace(b"held-out documents the model is", b"documents it is"),
    )
    with pytest.raises(BundleError, match=r"verdict\.headline is not what the files"):
        verify(bundle)


def change(path):
    """Return a change of one number, or word, at a path of keys into a JSON file."""

    def changed(data):
        content = json.loads(data)
        *way, last = path
        inside = content
        for step in way:
            inside = inside[step]
        assert last in inside or isinstance(inside, list)
        value = inside[last]
        inside[last] = (
            "forged"
            if isinstance(value, str)
            else not value
            if isinstance(value, bool)
            else (value or 0) + 0.25
        )
        return json.dumps(content).encode()

    return changed


@pytest.mark.parametrize(
    "path", [("metrics", 0, "value"), ("metrics", -1, "high"), ("comparisons", 0, "p_holm")]
)
def test_a_forged_figure_is_found(bundle, path):
    forge(bundle, "data/metrics.json", change(path))
    with pytest.raises(BundleError, match=r"metrics\.json: .*the items give"):
        verify(bundle)


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("bits-trained", "bits"),
        ("exam-base", "correct"),
        ("canaries-trained", "own"),
        ("general-trained", "correct"),
    ],
)
def test_a_forged_item_is_found(bundle, file, field):
    def first_row(data):
        first, *rest = data.splitlines(keepends=True)
        row = json.loads(first)
        row[field] = not row[field] if isinstance(row[field], bool) else row[field] * 0.5
        return json.dumps(row).encode() + b"\n" + b"".join(rest)

    forge(bundle, f"items/{file}.jsonl", first_row)
    with pytest.raises(BundleError, match=r"the items give|scores give|does not follow"):
        verify(bundle)


@pytest.mark.parametrize(
    "path",
    [
        ("metrics", 0, "value"),
        ("comparisons", 3, "difference"),
        ("subjects", 3, "role"),
        ("subjects", 5, "parameters"),
        ("ladder", "rows", 0, "exam"),
        ("ladder", "recommended"),
        ("bounds", 0, "kept"),
        ("totals", "kwh"),
        ("stages", 2, "seconds"),
        ("training", "last_loss"),
        ("training", "decisions"),
        ("curation", "refined", "rows", 0, "documents"),
        ("verdict", "outcome"),
        ("verdict", "duels", 0, "outcome"),
        ("verdict", "exam", 1, "outcome"),
        ("leakage", 2, "outcome"),
        ("conduct", 0, "outcome"),
        ("general", 0, "outcome"),
        ("assets", 0, "licence"),
        ("fresh",),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_forged_evidence_is_found(unpacked, evidence, path):
    stored = (unpacked / "evidence.json").read_bytes()
    assert first_difference(json.loads(stored), evidence) is None
    assert first_difference(json.loads(change(path)(stored)), evidence) is not None


def test_a_finding_that_was_left_out_is_found(bundle):
    def without(data):
        content = json.loads(data)
        del content["leakage"][0]
        return json.dumps(content).encode()

    forge(bundle, "evidence.json", without)
    with pytest.raises(BundleError, match=r"evidence\.json: leakage is not what the files"):
        verify(bundle)


def test_what_format_2_called_better_still_verifies_and_a_new_report_says_otherwise(unpacked):
    """Format 2 decided by the interval alone; here the half with little overlap has an adjusted p-value of 0.1."""
    earlier, now = (build_evidence(unpacked, families(), by_interval=old) for old in (True, False))
    assert (earlier.verdict.unlike.outcome, now.verdict.unlike.outcome) == (
        "better",
        "not shown to be better",
    )
    stored = earlier.to_json() | {"format": 2}
    assert first_difference(stored, earlier) is None
    forged = stored | {"verdict": stored["verdict"] | {"outcome": "worse"}}
    assert first_difference(forged, earlier) == "verdict.outcome"
    assert first_difference(stored | {"format": 3}, now).endswith("outcome")


def test_format_3_is_decided_as_now_and_its_sentences_are_not_compared(unpacked):
    assert [decided_by_interval({"format": format}) for format in (1, 2, 3, 4)] == [True, True, False, False]
    assert decided_by_interval({})
    now = build_evidence(unpacked, families())
    stored = {key: value for key, value in now.to_json().items() if key not in ("first", "job_files")}
    stored |= {"format": 3, "not_proven": ["worded otherwise"]}
    assert first_difference(stored, now) is None
    forged = {"findings": {"leakage": stored["findings"]["leakage"][1:]}}
    assert first_difference(stored | forged, now).startswith("findings")
