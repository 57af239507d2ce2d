"""Room for answers: several labels fit whole, and what was cut is not given as if it were whole."""

import pytest

from tinsmith.jobs import answer, extract
from tinsmith.jobs.ask import SEPARATOR, Ask, Reply
from tinsmith.jobs.grammar import choices_grammar
from tinsmith.jobs.prepare import prepare
from tinsmith.jobs.prompt import answer_ids
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.spec import Job
from tinsmith.recipe import JobConfig
from tiny_model import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
LABELS = tuple(
    f"{first} {second}" for first in ("fee", "duty", "payable", "section") for second in "abcdefghij"
)


def tagged(**facts) -> Job:
    facts = {"context": 128, **facts}
    config = JobConfig(name="tags", kind="classify", several=True, answer="{tags}", **facts)
    return Job(config=config, labels=LABELS)


def rows(*counts: int) -> list[dict]:
    return [{"id": str(n), "input": "text", "answer": list(LABELS[:count])} for n, count in enumerate(counts)]


def test_the_room_for_several_labels_is_that_of_the_examples_and_one_more() -> None:
    job, statistics = prepare(tagged(), rows(0, 1, 2), TOKENIZER, seed=1)
    assert job.most_labels == 3
    longest = sorted(LABELS, key=lambda label: len(answer_ids(TOKENIZER, label)))[-3:]
    assert len(answer_ids(TOKENIZER, SEPARATOR.join(longest))) <= job.answer_tokens < 64
    assert statistics == {"answers_too_long_to_be_learnt": 0}


def test_no_more_labels_are_admitted_than_surely_fit() -> None:
    job, statistics = prepare(tagged(), rows(1, 40), TOKENIZER, seed=1)
    assert 1 < job.most_labels < 40
    longest = sorted(LABELS, key=lambda label: len(answer_ids(TOKENIZER, label)))[-job.most_labels :]
    assert len(answer_ids(TOKENIZER, SEPARATOR.join(longest))) <= job.answer_tokens <= 64
    assert statistics == {"answers_too_long_to_be_learnt": 1}


@pytest.mark.parametrize("most", [0, 1, 3])
def test_llama_cpp_writes_labels_in_their_order_and_no_more_than_fit(server, most: int) -> None:
    labels = LABELS[:6]
    for seed in range(6):
        written = server(choices_grammar(labels, most), seed)
        assert (written[0], written[-1]) == (" ", "\n")
        found = written.strip().split(SEPARATOR)
        if found != ["none"]:
            places = [labels.index(label) for label in found]
            assert places == sorted(set(places))
            assert not most or len(places) <= most


def test_the_grammar_grows_with_the_labels_and_not_with_their_square() -> None:
    sizes = [len(choices_grammar([f"l{n:03}" for n in range(count)], 3)) for count in (100, 200)]
    assert sizes[1] < 2.2 * sizes[0]


def test_an_answer_that_was_cut_is_withheld() -> None:
    found = answer.read_answer(Reply("the fee", 0.9, ended=False), "Here the fee is 1,234.", none=0.0)
    assert found.answer is None
    assert found.withheld == "the answer does not fit into the context: the fee"


def test_of_a_list_that_was_cut_the_whole_values_are_kept() -> None:
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"law": text, "parties": {"type": "array", "items": text}}}
    job = Job(config=JobConfig(name="a", kind="extract", json_schema=schema))
    asks = [Ask("Ohio Acme Inc. and Bolt LLC", "?", field=field.name) for field in fields_of(job.config)]
    replies = [Reply("Ohio", ended=False), Reply("Acme Inc.; Bolt", ended=False)]
    found = extract._merge(job, [(ask, 0.1, reply) for ask, reply in zip(asks, replies, strict=True)])
    assert found.answer == {"law": [], "parties": ["Acme Inc."]}
    assert found.notes == (
        "law: the answer does not fit into the context: Ohio",
        "parties: the answer does not fit into the context: Acme Inc.; Bolt",
    )
