"""Verbatim spans: places, what is read, and the grammar that admits exactly that."""

import re

import pytest

from tinsmith.jobs.ask import NONE
from tinsmith.jobs.grammar import span_grammar
from tinsmith.jobs.schema import Field
from tinsmith.jobs.spans import FoldedText, fold, listed_spans, read_spans, sentence_around, value_of, whole

hypothesis = pytest.importorskip("hypothesis", reason="the extra tinsmith[dev] is not installed")
st = pytest.importorskip("hypothesis.strategies")

TEXTS = st.text(st.sampled_from('ab1,. \n\té"\\(;'), min_size=1, max_size=30)


def accepts(grammar: str, line: str) -> bool:
    """Say whether a grammar of spans admits a line, by a regular expression made of its rules."""
    rules = dict(rule.split(" ::= ", 1) for rule in grammar.strip().split("\n"))

    def expression(name: str) -> str:
        return "(?:" + "".join(part(token) for token in TOKEN.findall(rules[name])) + ")"

    def part(token: str) -> str:
        if token.startswith('"'):
            plain = token[1:-1].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\")
            return re.escape(re.sub(r"\\x(..)", lambda found: chr(int(found[1], 16)), plain))
        if token.startswith("[") or token in "()|?*":
            return token.replace("(", "(?:")
        return expression(token)

    return bool(re.fullmatch(expression("root"), line))


TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|[()|?*]|\w+')


@hypothesis.settings(max_examples=80, deadline=None)
@hypothesis.given(TEXTS, st.data())
def test_every_place_holds_the_span(text, data):
    folded = FoldedText(text)
    start = data.draw(st.integers(0, len(text) - 1))
    span = text[start : data.draw(st.integers(start + 1, len(text)))]
    for begin, end in folded.places(span):
        assert fold(text[begin:end]) == fold(span)
        assert text[begin:end] == text[begin:end].strip()
        assert whole(text, begin, end)


@pytest.mark.parametrize(
    ("span", "place"),
    [
        ("Acme Inc.", (0, 10)),  # the text has a line end between the words
        ("1,234.5", (16, 23)),
        ("234.5", None),  # within a number
        ("1,234", None),
        ("cme Inc.", None),  # within a word
        ("acme Inc.", None),
        ("", None),
    ],
)
def test_a_span_begins_and_ends_between_words(span, place):
    assert FoldedText("Acme\n Inc. owes 1,234.5 now").places(span) == ([place] if place else [])


def test_all_places_are_found():
    assert FoldedText("New York, New York").places("New York") == [(0, 8), (10, 18)]


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(TEXTS.filter(str.strip), st.text(st.sampled_from('ab1,. é"\\(;'), max_size=6))
def test_the_grammar_admits_what_the_reader_reads(text, other):
    folded, field, grammar = FoldedText(text), Field("f"), span_grammar(text)
    words = folded.text
    for start in range(len(words)):
        for end in range(start + 1, len(words) + 1):
            span = words[start:end]
            if span == fold(span) and span != NONE:
                assert accepts(grammar, f" {span}\n") == bool(read_spans(span, folded, field)[0]), span
    if other == fold(other) and other:
        assert accepts(grammar, f" {other}\n") == bool(folded.places(other))


def test_what_the_text_does_not_hold_is_left_out_and_told():
    text = FoldedText("between Acme Inc. and Bolt LLC")
    field = Field("parties", several=True)
    spans, reason = read_spans("Acme Inc.; Nobody; Bolt LLC; Acme Inc.", text, field)
    assert [span for span, _, _ in spans] == ["Acme Inc.", "Bolt LLC"]
    assert reason == "not in the text: Nobody"
    assert read_spans("none", text, field) == ([], "")
    assert read_spans("Nobody", text, Field("party")) == ([], "not in the text: Nobody")
    assert accepts(span_grammar(text.original, several=True), " Acme Inc.; Bolt LLC\n")
    assert not accepts(span_grammar(text.original), " Acme Inc.; Bolt LLC\n")


def test_other_words_are_admitted_with_a_quote_alone():
    grammar = span_grammar("The plan is closed.", quote_mark=" << ")
    assert accepts(grammar, " No << The plan is closed.\n")
    assert not accepts(grammar, " No << The plan is open.\n")
    assert not accepts(grammar, " No\n")


def test_a_value_stands_at_its_place_in_the_input():
    value = value_of(Field("d", format="date"), ("May 2,\n2015", 4, 15), offset=100, confidence=0.5)
    assert (value.text, value.start, value.end) == ("May 2,\n2015", 104, 115)
    assert value.as_dict()["normal"] == "2015-05-02"


def test_spans_are_listed_once():
    assert listed_spans(["A\n B", "A B", "C"]) == "A B; C"
    assert listed_spans([]) == NONE


def test_the_quote_is_the_sentence_around():
    text = 'First. He said "the fee is\n5 euros." Then it ended!\n\nA head\n\nLast'
    place = text.index("fee")
    assert sentence_around(text, place, place + 3) == 'He said "the fee is\n5 euros."'
    assert sentence_around(text, text.index("head"), text.index("head") + 4) == "A head"
    assert sentence_around(text, len(text) - 4, len(text)) == "Last"
    assert sentence_around(text, 0, 5) == "First."


def test_llama_cpp_writes_spans_alone(server):
    text = 'Acme "A" Inc.\nowes £1,234.5 \\ to B—C. ' * 2
    folded, field = FoldedText(text), Field("f", several=True)
    written = [server(span_grammar(text, several=True), seed) for seed in range(8)]
    ended = [line for line in written if line.endswith("\n")]
    assert len(ended) >= 4
    for line in ended:
        spans, left_out = read_spans(line, folded, field)
        assert spans, line
        assert left_out == "", line
