"""What our files lose against the original, and which is recommended."""

import pytest

from family_figures import make_context, store
from tinsmith.base.files import write_jsonl
from tinsmith.evaluate.families import quantization
from tinsmith.evaluate.families.quantization import FAMILY
from tinsmith.evidence.family import Results
from tinsmith.evidence.schema import Metrics
from tinsmith.recipe import EvaluateConfig

SIZES = {"q4_k_m": 400, "q8_0": 800, "f16": 1600}
FILES = {"q4_k_m": "trained-4bit", "q8_0": "trained-q8_0", "f16": "trained-f16"}


def _bits(losses):
    """Return items of documents of 100 bytes that take so many bits per byte more than one."""
    return [
        {"doc_id": f"d{n}", "bytes": 100, "tokens": 9, "bits": 100.0 + 100 * loss, "overlap": 0.0}
        for n, loss in enumerate(losses)
    ]


def _answers(correct):
    return [
        {"item": f"q{n}", "task": "kind", "doc_id": f"d{n // 2}", "shots": 0, "correct": right}
        for n, right in enumerate(correct)
    ]


@pytest.fixture
def ladder(tmp_path, monkeypatch):
    """Return a function that computes the ladder of files by their loss on each of eight documents."""

    def size(path):
        return {"bytes": SIZES[path.stem.removeprefix("model-")], "bits_per_weight": 8.0}

    monkeypatch.setattr(quantization, "_size", size)

    def compute(max_loss, **losses):
        stored = {FILES[format]: _bits(loss) for format, loss in losses.items()}
        store(tmp_path, "bits", {"trained": _bits([0.0] * 8), **stored})
        subjects = ("trained", *stored, "base")
        context = make_context(tmp_path, subjects, EvaluateConfig(bootstrap=200, max_loss=max_loss))
        return FAMILY.figures(context).ladder

    return compute


NOISY = [0.2, -0.2, 0.3, -0.3, 0.2, -0.2, 0.1, -0.1]  # nothing on average, and nobody knows


def test_the_smallest_file_is_recommended_whose_whole_interval_is_within(ladder):
    found = ladder(0.05, f16=[0.0] * 8, q8_0=[0.04] * 8, q4_k_m=NOISY)
    assert [(row.format, row.bytes) for row in found.rows] == [("q4_k_m", 400), ("q8_0", 800), ("f16", 1600)]
    assert found.rows[0].loss == pytest.approx(0.0, abs=1e-12)
    assert found.rows[0].low < 0 < 0.05 < found.rows[0].high
    assert (found.rows[1].loss, found.rows[1].high) == pytest.approx((0.04, 0.04))
    assert found.rows[1].bits_per_byte == pytest.approx(1.04)
    assert (found.recommended, found.max_loss) == ("q8_0", 0.05)
    assert ladder(0.03, f16=[0.0] * 8, q8_0=[0.04] * 8, q4_k_m=NOISY).recommended == "f16"
    assert ladder(0.03, q8_0=[0.04] * 8, q4_k_m=NOISY).recommended is None
    assert ladder(0.4, q8_0=[0.04] * 8, q4_k_m=NOISY).recommended == "q4_k_m"


def test_answers_and_divergence_stand_beside_the_loss(ladder, tmp_path):
    store(
        tmp_path,
        "exam",
        {"trained": _answers([True] * 6 + [False] * 2), "trained-q8_0": _answers([True] * 4 + [False] * 4)},
    )
    prompts = [{"format": "q8_0", "positions": n, "kl": kl} for n, kl in ((3, 0.1), (1, 0.5))]
    write_jsonl(tmp_path / "parity.jsonl", prompts)
    (row,) = ladder(0.05, q8_0=[0.04] * 8).rows
    assert row.exam == pytest.approx(-2 / 8)
    assert row.exam_low <= row.exam <= row.exam_high
    assert row.mean_kl == pytest.approx((3 * 0.1 + 0.5) / 4)
    assert row.tokens_per_second is None


def test_questions_on_one_document_give_a_difference_without_interval(ladder, tmp_path):
    one = [row | {"doc_id": "d0"} for row in _answers([True, False])]
    store(tmp_path, "exam", {"trained": one, "trained-q8_0": [row | {"correct": False} for row in one]})
    (row,) = ladder(0.05, q8_0=[0.04] * 8).rows
    assert (row.exam, row.exam_low, row.exam_high) == (-0.5, None, None)


def test_without_a_scored_model_there_is_no_file(tmp_path):
    found = FAMILY.figures(make_context(tmp_path, ("trained",))).ladder
    assert (found.rows, found.recommended) == ((), None)


def test_the_sentence_names_the_file_or_the_one_that_comes_nearest(ladder):
    def said(found):
        (finding,) = FAMILY.findings(Results(Metrics(ladder=found), "trained", (), 0.95))
        return finding.outcome, finding.text

    outcome, text = said(ladder(0.05, q8_0=[0.04] * 8, q4_k_m=NOISY))
    assert outcome == "recommended"
    assert text.startswith("Take the file q8_0 (800 B of weights): it loses 0.040 bits per byte")
    outcome, text = said(ladder(0.01, q8_0=[0.04] * 8, q4_k_m=NOISY))
    assert outcome == "none"
    assert "q8_0 comes nearest with 0.040" in text
