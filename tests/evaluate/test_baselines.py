import bz2
import random
from collections import Counter

import numpy as np
import pytest

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import read_jsonl
from tinsmith.evaluate import baselines
from tinsmith.evaluate.baselines import (
    BASELINES,
    BaselineWork,
    NgramModel,
    by_length,
    by_overlap,
    compressor_bits,
    draw_training,
    majority,
    measure_baselines,
    shared_words,
    tfidf,
    unread,
)
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evidence.items import Item, ItemKind
from tinsmith.evidence.schema import Role

WORDS = ["the", "licensee", "may", "copy", "modify", "software", "under", "this", "licence", "warranty"]


def _text(seed, words=200):
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words))


def _noise(seed, letters=1000):
    draw = random.Random(seed)
    return "".join(chr(draw.randrange(33, 127)) for _ in range(letters))


def test_majority_takes_the_commonest_label():
    assert majority(["b", "a", "b"], 2) == ["b", "b"]
    assert majority(["b", "a"], 1) == ["a"]


def test_tfidf_learns_what_words_tell_and_beats_the_majority():
    draw = random.Random(0)
    labels = [draw.choice(["free", "paid", "free"]) for _ in range(80)]
    texts = [
        f"{_text(n, 30)} {'price fee invoice' if label == 'paid' else 'gift open share'} {_text(n + 500, 30)}"
        for n, label in enumerate(labels)
    ]
    found = tfidf(texts[:60], labels[:60], texts[60:])
    right = sum(a == b for a, b in zip(found, labels[60:], strict=True))
    common = sum(a == b for a, b in zip(majority(labels[:60], 20), labels[60:], strict=True))
    assert right >= 19
    assert right > common


def test_baselines_need_two_classes():
    with pytest.raises(CorpusError, match=r"only 1 different answer"):
        majority(["a", "a"], 3)
    with pytest.raises(CorpusError, match=r"only 1 different answer"):
        tfidf(["some text"], ["a"], ["text"])


def ngram_bits(training, documents, *, seed):
    model = NgramModel(draw_training(training, seed=seed))
    return [model.bits(text) for text in documents]


@pytest.mark.parametrize("baseline", [compressor_bits, ngram_bits])
def test_priming_helps_on_known_text_and_not_on_noise(baseline):
    training = [_text(n) for n in range(30)]
    known, noise = training[3][100:900], _noise(1)
    primed = baseline(training, [known, _text(999), noise], seed=0)
    bare = baseline(["x"], [known, _text(999), noise], seed=0)
    sizes = [len(text) for text in (known, _text(999), noise)]
    assert primed[0] < 0.8 * bare[0]
    assert primed[1] < 0.8 * bare[1]
    assert primed[2] / sizes[2] > 6
    assert primed == baseline(training, [known, _text(999), noise], seed=0)


@pytest.mark.parametrize("order", [1, 2, 3, 8])
def test_ngram_probabilities_sum_to_one(order):
    model = NgramModel([_text(1), _text(2), "ünïcödé"], order=order)
    for context in ("", "lic", "zzzzz", "licence without "):
        last = [model.probabilities(context + chr(byte))[-1] for byte in range(128)]
        other = 0.0
        for byte in range(128, 256):
            # A byte that ends no character of UTF-8 alone: ask the model through raw grams.
            data = context.encode() + bytes([byte])
            padded = np.frombuffer(bytes(order - 1) + data, dtype=np.uint8)[-order:]
            other += _probability(model, padded)
        assert sum(last) + other == pytest.approx(1.0, abs=1e-9)


def _probability(model, data):
    gram = np.uint64(int.from_bytes(data.tobytes(), "big"))
    found = np.full(1, 1 / 256)
    for length, level in enumerate(model.levels, 1):
        found = baselines._interpolate(level, np.array([gram & np.uint64(256**length - 1)]), found)
    return float(found[0])


def test_a_document_starts_behind_zero_bytes():
    texts = [f"Licence {_text(n, 20)}" for n in range(50)]
    assert NgramModel(texts).probabilities("Licence")[0] > 0.9


def _plain_kneser_ney(text: bytes, order: int, history: bytes, byte: int) -> float:
    """Return the probability of a byte after a history, by the formula of Chen and Goodman, one gram at a time."""
    padded = bytes(order - 1) + text
    tops = Counter(padded[at : at + order] for at in range(len(text)))

    def counts(length: int) -> Counter[bytes]:
        if length == order:
            return tops
        return Counter(gram[1:] for gram in counts(length + 1))

    def probability(length: int, history: bytes) -> float:
        if not length:
            return 1 / 256
        found = counts(length)
        once, twice = (sum(count == number for count in found.values()) for number in (1, 2))
        discount = min(max(once / (once + 2 * twice) if once and twice else 0.5, 0.1), 0.95)
        context = history[len(history) - length + 1 :]
        after = {gram[-1]: count for gram, count in found.items() if gram[:-1] == context}
        lower = probability(length - 1, history)
        if not after:
            return lower
        total = sum(after.values())
        return max(after.get(byte, 0) - discount, 0) / total + discount * len(after) / total * lower

    return probability(order, history)


def test_ngram_probabilities_are_those_of_the_formula():
    text, asked = "abracadabra abc", "cab a"
    model = NgramModel([text], order=3)
    padded = bytes(2) + asked.encode()
    expected = [
        _plain_kneser_ney(text.encode(), 3, padded[at : at + 2], padded[at + 2]) for at in range(len(asked))
    ]
    assert model.probabilities(asked) == pytest.approx(expected)
    assert model.bits(asked) == pytest.approx(-sum(np.log2(expected)))
    assert NgramModel([], order=2).probabilities("ab").tolist() == [1 / 256] * 2


def test_the_compressor_is_primed_with_equal_openings_and_counts_what_a_document_adds(monkeypatch):
    monkeypatch.setattr(baselines, "PRIMING_BYTES", 300)
    monkeypatch.setattr(baselines, "PRIMING_SAMPLES", 3)
    training = [_text(n) for n in range(5)]
    drawn = np.random.default_rng(4).permutation(5)[:3]
    priming = b"\n\n".join(training[n].encode()[:100] for n in drawn)
    added = len(bz2.compress(priming + b"\n\nthe licensee")) - len(bz2.compress(priming))
    assert compressor_bits(training, ["the licensee"], seed=4) == [8.0 * added]
    assert compressor_bits([], ["x"], seed=4) == [
        8.0 * (len(bz2.compress(b"\n\nx")) - len(bz2.compress(b"")))
    ]


def test_the_ngram_model_is_made_of_whole_texts_up_to_its_budget(monkeypatch):
    training = ["é" * 10, "b" * 20, "c" * 20]
    monkeypatch.setattr(baselines, "NGRAM_BYTES", 40)
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(3)
        chosen = draw_training(training, seed=seed)
        # The second fills the budget: each text has 20 bytes.
        assert chosen == [training[order[0]], training[order[1]]]
    monkeypatch.setattr(baselines, "NGRAM_BYTES", 25)
    assert [len(text) for text in draw_training(["b" * 20, "c" * 20], seed=1)] == [20, 5]
    monkeypatch.setattr(baselines, "NGRAM_BYTES", 1000)
    assert sorted(draw_training(training, seed=1)) == sorted(training)


def test_shared_words_are_a_share_of_the_choice_in_the_end_of_the_text():
    assert shared_words("The owner pays.", "the TENANT pays, twice") == 0.5
    assert shared_words("owner " + "x" * 399, "owner") == 0.0
    assert shared_words("owner " + "x" * 394, "owner") == 1.0
    assert shared_words("anything", "") == shared_words("", "word") == 0.0


def test_a_task_without_any_word_has_nothing_to_learn_from():
    with pytest.raises(CorpusError, match="TF-IDF finds nothing to learn from"):
        tfidf(["...", "!"], ["a", "b"], ["?"])


def items_of(answers, text="nothing of it"):
    return [
        Item(f"i{n}", "cloze", f"d{n}", text, "", own, (own, *others))
        for n, (own, others) in enumerate(answers)
    ]


def test_the_baseline_of_length_finds_what_length_gives_away():
    longest = items_of([("a long answer", ("short", "brief")), ("another long one", ("tiny", "small"))] * 5)
    assert by_length(longest) == [item.answer for item in longest]
    shortest = items_of([("tiny", ("a long answer", "another long one"))] * 5)
    assert by_length(shortest) == [item.answer for item in shortest]


def test_the_baseline_of_overlap_finds_what_shared_words_give_away():
    shared = items_of(
        [("the vessel sails", ("a bank lends", "no goods came"))] * 4, text="The vessel of the owner sails."
    )
    assert by_overlap(shared) == [item.answer for item in shared]


def test_the_baseline_that_reads_no_document_knows_the_training_text_only():
    items = items_of([("the parties agree", ("xq zzv kkw", "vvq wwx jjz"))] * 3)
    training = ["Now the parties agree that the parties agree upon it. " * 20]
    assert unread(items, NgramModel(training)) == [item.answer for item in items]
    other = [Item(**{**vars(item), "text": "xq zzv kkw"}) for item in items]
    assert unread(other, NgramModel(training)) == unread(items, NgramModel(training))


def _work(questions):
    texts = [HeldOutText(f"d{n}", _text(n), n / 4) for n in range(4)]
    examples = [
        Item(f"kind:{n}", "kind", f"t{n}", f"{label} {_text(n, 20)}", "", label, ("free", "paid"))
        for n, label in enumerate(["free", "paid", "free"] * 4)
    ]
    return BaselineWork(texts, questions, [_text(n) for n in range(9)], examples, seed=1)


def test_each_baseline_answers_what_it_can_and_stores_it(tmp_path):
    classes = [Item(f"kind:{n}", "kind", f"d{n}", _text(n), "", "free", ("free", "paid")) for n in range(4)]
    gaps = [
        Item(f"g:{n}", "cloze", f"d{n}", _text(n), "", "a fee", ("a fee", "the law"), kind=ItemKind.CLOZE)
        for n in range(4)
    ]
    found = measure_baselines(_work({"kind": classes, "cloze": gaps}), tmp_path)
    assert [subject.subject for subject in found] == [baseline.name for baseline in BASELINES]
    assert {subject.role for subject in found} == {Role.BASELINE}
    for name in ("compressor", "ngram"):
        rows = list(read_jsonl(tmp_path / f"bits-{name}.jsonl"))
        assert [(row["doc_id"], row["bytes"]) for row in rows] == [(f"d{n}", len(_text(n))) for n in range(4)]
        assert [row["overlap"] for row in rows] == [0.0, 0.25, 0.5, 0.75]
        assert all(row["bits"] > 0 for row in rows)
    tasks = {
        baseline.name: {row["task"] for row in read_jsonl(tmp_path / f"exam-{baseline.name}.jsonl")}
        for baseline in BASELINES
        if baseline.answer
    }
    built = {key: {"cloze"} for key in ("length", "overlap", "unread")}
    assert tasks == {key: {"kind"} for key in ("majority", "tfidf")} | built
    rows = list(read_jsonl(tmp_path / "exam-majority.jsonl"))
    assert [(row["prediction"], row["correct"], row["scores"]) for row in rows] == [("free", True, {})] * 4


def test_baselines_without_questions_of_their_own_are_no_subjects(tmp_path):
    found = measure_baselines(_work({}), tmp_path)
    assert [subject.subject for subject in found] == ["compressor", "ngram"]
    assert not list(tmp_path.glob("exam-*"))
