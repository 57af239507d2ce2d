import random

import numpy as np
import pytest

from tinsmith.base.errors import CorpusError
from tinsmith.evaluate.baselines import NgramModel, compressor_bits, majority, ngram_bits, tfidf

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


def test_controls_need_two_classes():
    with pytest.raises(CorpusError, match=r"know 1 answer"):
        majority(["a", "a"], 3)
    with pytest.raises(CorpusError, match=r"know 1 answer"):
        tfidf(["some text"], ["a"], ["text"])


@pytest.mark.parametrize("control", [compressor_bits, ngram_bits])
def test_priming_helps_on_known_text_and_not_on_noise(control):
    training = [_text(n) for n in range(30)]
    known, noise = training[3][100:900], _noise(1)
    primed = control(training, [known, _text(999), noise], seed=0)
    bare = control(["x"], [known, _text(999), noise], seed=0)
    sizes = [len(text) for text in (known, _text(999), noise)]
    assert primed[0] < 0.8 * bare[0]
    assert primed[1] < 0.8 * bare[1]
    assert primed[2] / sizes[2] > 6
    assert primed == control(training, [known, _text(999), noise], seed=0)


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
    from tinsmith.evaluate import baselines as controls

    gram = np.uint64(int.from_bytes(data.tobytes(), "big"))
    found = np.full(1, 1 / 256)
    for length, level in enumerate(model.levels, 1):
        found = controls._interpolate(level, np.array([gram & np.uint64(256**length - 1)]), found)
    return float(found[0])


def test_a_document_starts_behind_zero_bytes():
    texts = [f"Licence {_text(n, 20)}" for n in range(50)]
    assert NgramModel(texts).probabilities("Licence")[0] > 0.9
