"""Questions that documents make themselves."""

import collections
import re

import pytest

from short_contracts import TOPICS, contract
from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.evaluate.baselines import by_overlap, shared_words
from tinsmith.evaluate.families.multiple_choice import ItemScore
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.questions import CHOICES, build_cloze, build_next_passage
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evidence.items import Item, ItemKind
from tinsmith.tokens.encoding import context_token, encode

TEXTS = {f"d{number}": contract(number) for number in range(1, 13)}
DOCUMENTS = [HeldOutText(name, text[:1500], 0.0) for name, text in TEXTS.items()]


def test_next_passage_is_what_follows_and_others_are_near_but_elsewhere():
    items = build_next_passage(DOCUMENTS, TEXTS, 24, seed=3)
    assert len(items) == 24
    for item in items:
        start, end = item.span
        assert TEXTS[item.doc_id][start:end] == item.answer
        assert TEXTS[item.doc_id][:start] == item.text + item.lead
        assert len(item.text) >= 150
        assert len(set(item.choices)) == CHOICES
        assert item.answer in item.choices
        for false in set(item.choices) - {item.answer}:
            assert any(false in text for text in TEXTS.values())
            assert false not in TEXTS[item.doc_id][:end]
            assert abs(len(false) - len(item.answer)) <= 30
    # The nearest passages speak of the same matter: topic alone does not answer.
    same = [
        TOPICS[(int(item.doc_id[1:])) % 4] in false
        for item in items
        for false in set(item.choices) - {item.answer}
    ]
    assert sum(same) / len(same) > 0.6


def test_questions_are_spread_over_documents_and_the_right_place_goes_round():
    for items in (
        build_next_passage(DOCUMENTS, TEXTS, 24, seed=3),
        build_cloze(DOCUMENTS, TEXTS, 24, seed=3),
    ):
        counts = collections.Counter(item.doc_id for item in items)
        assert len(counts) == len(DOCUMENTS)
        assert max(counts.values()) <= 3  # two of each, and another where a document gives no second one
        places = collections.Counter(item.choices.index(item.answer) for item in items)
        assert set(places.values()) == {6}
        assert len({item.item for item in items}) == len(items)


def test_a_gap_is_filled_by_its_kind_and_its_own_document_first():
    items = build_cloze(DOCUMENTS, TEXTS, 60, seed=1)
    kinds = {"Section": 0, "$": 0, "days": 0, "years": 0, "term": 0}
    for item in items:
        start, end = item.span
        text = TEXTS[item.doc_id]
        assert text[start:end] == item.answer
        assert text[:start] == item.text + item.lead
        assert text[end:].startswith(item.tail)
        assert len(item.tail) <= 80
        kind = next((kind for kind in kinds if kind in item.answer), "term")
        kinds[kind] += 1
        for choice in item.choices:
            assert (kind in choice) if kind != "term" else re.fullmatch(r"[A-Z]\D+", choice)
            assert kind in ("years", "$") or choice in text or kind == "days"
        if kind == "term":
            assert f'"{item.answer}"' in item.text
    assert kinds["Section"]
    assert kinds["$"]
    assert kinds["days"]
    assert kinds["term"]


def test_as_many_false_passages_share_more_words_with_what_was_read_as_fewer():
    texts = {f"d{number}": contract(number) for number in range(1, 41)}
    documents = [HeldOutText(name, text[:1500], 0.0) for name, text in texts.items()]
    items = build_next_passage(documents, texts, 64, seed=5)
    assert len(items) == 64
    for number, item in enumerate(items):
        own = shared_words(item.text, item.answer)
        shares = [shared_words(item.text, choice) for choice in item.choices]
        assert sum(share > own for share in shares) == number // CHOICES % CHOICES
        assert shares.count(own) == 1
    right = sum(a == item.answer for a, item in zip(by_overlap(items), items, strict=True))
    assert right == 16


def test_equal_seeds_make_equal_questions():
    for build in (build_next_passage, build_cloze):
        first = build(DOCUMENTS, TEXTS, 9, seed=3)
        assert first == build(DOCUMENTS, dict(reversed(TEXTS.items())), 9, seed=3)
        assert first != build(DOCUMENTS, TEXTS, 9, seed=4)


def test_near_copies_are_no_false_answers():
    copies = {**TEXTS, **{f"copy-{name}": text + " " for name, text in TEXTS.items()}}
    for item in build_next_passage(DOCUMENTS, copies, 12, seed=3):
        assert len(set(item.choices)) == CHOICES
        words = set(item.answer.split())
        for false in set(item.choices) - {item.answer}:
            assert len(words & set(false.split())) < 0.95 * len(words)


def test_short_documents_give_no_questions():
    short = [HeldOutText("a", "A short one. Nothing more.", 0.0)]
    assert build_next_passage(short, {"a": short[0].text}, 5, seed=1) == []
    assert build_cloze(short, {"a": short[0].text}, 5, seed=1) == []


def test_scores_are_those_of_the_continuation_and_passages_are_judged_by_the_byte():
    model, tokenizer = tiny_model(), byte_tokenizer()
    item = Item(
        "x",
        "next_passage",
        "a",
        "Before it.",
        "",
        "The longer one of both",
        ("The longer one of both", "Short"),
        "\n\n",
        "",
        kind=ItemKind.NEXT_PASSAGE,
    )
    score = ItemScore(item, tokenizer, short=False)
    row = score.row(Scorer(model, name="m").score([score.tree])[0], 0)
    prompt = [context_token(tokenizer), *encode(tokenizer, item.text)]
    expected = {}
    for choice in item.choices:
        answer = encode(tokenizer, f"\n\n{choice}")
        expected[choice] = sum(plain_log_probs(model, prompt + answer)[-len(answer) :])
    assert row["scores"] == pytest.approx(expected, abs=5e-3)
    assert row["prediction"] == max(expected, key=lambda choice: expected[choice] / (2 + len(choice)))
