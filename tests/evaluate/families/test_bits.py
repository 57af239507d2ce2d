import math
from types import SimpleNamespace

import pytest

from family_figures import by_metric, compute
from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.base.errors import AssetError
from tinsmith.evaluate.families.bits import (
    FAMILY,
    TextScore,
    choose_documents,
    plan_windows,
    restorable,
    restores,
)
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.tokens.encoding import encode

TEXT = "The licensee may copy the software; the licensor gives no warranty — ¡naïve! 漢字 🎈\n\tEnd. "


@pytest.mark.parametrize("window", [2, 3, 8, 33, 100])
@pytest.mark.parametrize("length", [2, 3, 7, 8, 9, 12, 100, 101, 257])
def test_windows_cover_each_token_once(length, window):
    scored = []
    for start, first, end in plan_windows(length, window):
        assert 0 <= start < first < end <= length
        assert end - start <= window
        assert start == 0 or first - start >= window // 2
        scored += range(first, end)
    assert scored == list(range(1, length))


@pytest.mark.parametrize("family", ["llama", "gemma3"])
@pytest.mark.parametrize("bos", [False, True])
def test_one_window_equals_the_plain_sum(family, bos):
    model, tokenizer = tiny_model(family), byte_tokenizer(bos=bos)
    text = TEXT * 2
    score = TextScore(HeldOutText("d", text, 0.25), tokenizer, 4096)
    row = score.row(Scorer(model, name="m").score(score.trees))
    tokens = [257 if bos else 256, *encode(tokenizer, text)]
    assert row["bits"] == pytest.approx(-sum(plain_log_probs(model, tokens)) / math.log(2), rel=1e-4)
    assert row["bytes"] == len(text.encode("utf-8"))
    assert (row["tokens"], row["overlap"], row["doc_id"]) == (len(tokens) - 1, 0.25, "d")


def test_windows_equal_the_plain_sum_window_by_window():
    model, tokenizer = tiny_model(), byte_tokenizer()
    score = TextScore(HeldOutText("d", TEXT * 3, 0.0), tokenizer, 64)
    row = score.row(Scorer(model, name="m").score(score.trees))
    tokens = [256, *encode(tokenizer, TEXT * 3)]
    expected = 0.0
    for start, first, end in plan_windows(len(tokens), 64):
        expected -= sum(plain_log_probs(model, tokens[start:end])[first - start - 1 :])
    assert len(score.trees) > 3
    assert row["bits"] == pytest.approx(expected / math.log(2), rel=1e-4)


def test_documents_are_drawn_by_seed_and_cut_between_characters():
    texts = {f"d{number}": "é" * 50 for number in range(20)} | {"empty": ""}
    drawn = choose_documents(texts, {"d3": 0.5}, documents=8, characters=9, seed=1)
    again = choose_documents(dict(reversed(texts.items())), {"d3": 0.5}, documents=8, characters=9, seed=1)
    other = choose_documents(texts, {}, documents=8, characters=9, seed=2)
    assert drawn == again
    assert {d.doc_id for d in drawn} != {d.doc_id for d in other}
    assert all(d.text == "é" * 9 and d.bytes == 18 for d in drawn)
    every = choose_documents(texts, {"d3": 0.5}, documents=99, characters=9, seed=1)
    assert len(every) == 20
    assert [d.overlap for d in every if d.doc_id == "d3"] == [0.5]


def test_a_tokenizer_that_loses_bytes_is_seen():
    good = byte_tokenizer()
    assert restores(good, TEXT)
    assert restores(good, "text with <eos> in it")
    lossy = byte_tokenizer()
    lossy.backend_tokenizer.normalizer = __import__("tokenizers").normalizers.Lowercase()
    documents = [HeldOutText(str(n), text, 0.0) for n, text in enumerate(["plain", "Capital", "small"])]
    assert [d.doc_id for d in restorable(documents, {"good": good, "lossy": lossy})] == ["0", "2"]
    with pytest.raises(AssetError, match=r"lossy: its tokenizer restores only 1 of 3"):
        restorable(
            [HeldOutText(d.doc_id, d.text.title() if d.doc_id else d.text, 0.0) for d in documents[:2]]
            + [SimpleNamespace(doc_id="9", text="plain")],
            {"lossy": lossy},
        )


def test_halves_are_those_of_low_and_high_overlap(tmp_path):
    overlaps = [0.1, 0.9, 0.2, 0.8]
    rows = [
        {"doc_id": f"d{n}", "bytes": 100, "tokens": 9, "bits": 100.0 * (n + 1), "overlap": overlap}
        for n, overlap in enumerate(overlaps)
    ]
    found = by_metric(compute(FAMILY, tmp_path, {"trained": rows}))
    assert {metric: (row.value, row.items, row.slice) for metric, row in found.items()} == {
        "bits_per_byte": (2.5, 4, ""),
        "bits_per_byte:overlap_low": (2.0, 2, "overlap_low"),
        "bits_per_byte:overlap_high": (3.0, 2, "overlap_high"),
    }
    assert found["bits_per_byte"].low < 2.5 < found["bits_per_byte"].high
    assert found["bits_per_byte"].file == "items/bits-trained.jsonl"


def test_a_difference_is_paired_and_says_what_could_have_been_detected(tmp_path):
    def rows(extra):
        return [
            {
                "doc_id": f"d{n}",
                "bytes": 100,
                "tokens": 9,
                "bits": 50.0 * (n + 1) + extra * (n % 3),
                "overlap": 0,
            }
            for n in range(9)
        ]

    (row,) = compute(FAMILY, tmp_path, {"trained": rows(0), "base": rows(10)}).comparisons
    assert (row.a, row.b, row.metric, row.items) == ("trained", "base", "bits_per_byte", 9)
    assert row.difference == pytest.approx(-0.1)
    # Far narrower than either model's own interval, since the documents differ more than the models.
    assert row.low < row.difference < row.high < 0
    assert row.high - row.low < 0.2
    assert row.p < 0.001
    assert 0 < row.detectable < 0.1
    assert row.higher_is_better is False
