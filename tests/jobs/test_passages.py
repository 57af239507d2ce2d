"""Passages hold every word, fit their room, and begin at sentences."""

from itertools import pairwise

import pytest

from small_models import byte_tokenizer
from tinsmith.jobs.passages import passages
from tinsmith.tokens.encoding import encode

hypothesis = pytest.importorskip("hypothesis", reason="the extra tinsmith[dev] is not installed")
st = pytest.importorskip("hypothesis.strategies")

TOKENIZER = byte_tokenizer()


@hypothesis.settings(max_examples=80, deadline=None)
@hypothesis.given(st.text(st.sampled_from("the .\n;é€"), max_size=200), st.integers(12, 60))
def test_passages_hold_the_whole_text_and_fit(text, room):
    found = passages(TOKENIZER, text, room)
    assert found[0].start == 0
    assert found[-1].end == len(text)
    for before, after in pairwise(found):
        assert before.start < after.start <= before.end < after.end
    for passage in found:
        assert len(encode(TOKENIZER, text[passage.start : passage.end])) <= room


def test_a_short_text_is_one_passage():
    assert [(p.start, p.end) for p in passages(TOKENIZER, "A short text.", 40)] == [(0, 13)]


def test_passages_begin_and_end_at_sentences_and_overlap():
    sentences = [f"Sentence {number} ends." for number in range(10, 40)]
    text = " ".join(sentences)
    found = [text[p.start : p.end] for p in passages(TOKENIZER, text, 100)]
    assert len(found) > 3
    assert all(part.startswith("Sentence ") and part.strip().endswith("ends.") for part in found)
    assert all(before.split()[-2] in after for before, after in pairwise(found))


def test_a_paragraph_end_is_preferred():
    text = "One sentence. Another one here.\n\nA new paragraph begins. It goes on. " + "And on. " * 20
    first = passages(TOKENIZER, text, 60)[0]
    assert text[: first.end].endswith("here.\n\n")
