"""One function fills the templates of a job, for examples, training, `run` and server alike."""

import pytest

from tinsmith.jobs.rendering import NoExample, Rendering
from tinsmith.jobs.spec import Job
from tinsmith.recipe import JobConfig

CONFIG = JobConfig(name="ask", kind="answer", question="On {topic}: {q}", answer="{a}")


@pytest.mark.parametrize("record", [{"topic": "law", "q": "What?"}, {"q": "What?"}, {"topic": None, "q": 7}])
def test_examples_and_models_are_asked_the_same_question(record):
    asked = Rendering(CONFIG).question(record)
    assert Job(config=CONFIG).question(record) == asked
    assert asked == f"On {record.get('topic') or ''}: {record['q']}"


def test_a_record_without_a_question_is_not_asked():
    rendering = Rendering(CONFIG)
    with pytest.raises(NoExample) as found:
        rendering.asked({"text": "There is a text.", "q": " "})
    assert found.value.reason == "empty_question"
    assert rendering.asked({"text": "A text.", "q": "Why?"})["input"] == "A text."


def test_a_prior_asks_without_any_field():
    assert Job(config=CONFIG).question({}) == "On : "


def labels(record, answer="{tags}", known=()):
    config = JobConfig(name="j", kind="classify", several=True, answer=answer, labels=known)
    return Rendering(config).labels(record)


def test_commas_part_the_labels_that_a_recipe_lists():
    known = ("hr", "it", "Law, tax")
    assert labels({"tags": "hr, IT"}, known=known) == ["hr", "IT"]
    assert labels({"tags": "law, tax; it"}, known=known) == ["law, tax", "it"]
    assert labels({"tags": "hr, it"}) == ["hr, it"]
    assert labels({"tags": "hr, other"}, known=known) == ["hr, other"]


def test_fields_that_say_yes_are_labels():
    answer = "{hr}; {it}"
    assert labels({"hr": "1", "it": "0"}, answer) == ["hr"]
    assert labels({"hr": True, "it": 1.0}, answer) == ["hr", "it"]
    assert labels({"hr": None, "it": False}, answer) == []
    assert labels({"hr": "staff", "it": "1"}, answer) == ["staff", "1"]
