"""A job's rows and tokens are counted in its files, so that a plan knows what is read."""

import pytest

from tinsmith.jobs.size import WRITTEN, job_size
from tinsmith.recipe import JobConfig


@pytest.fixture
def size(tmp_path):
    """Return a function that writes rows of two columns and returns the size of a job over them."""

    def count(rows, kind="classify", **fields):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        path.write_text("text,y\n" + "".join(f"{text},{y}\n" for text, y in rows))
        facts = {"name": "j", "kind": kind, "answer": "{y}", "question": "What?", "examples": [str(path)]}
        return job_size(JobConfig.model_validate(facts | fields))

    return count


def test_rows_are_counted_and_a_part_is_held_out(size, tmp_path):
    rows = [("x" * 75, "a")] * 100
    found = size([*rows, ("", "a")])
    assert (found.learnt, found.asked, found.tokens, found.written) == (80, 20, 28.0, 0.0)
    assert found.learnt_tokens == 80 * 28
    (tmp_path / "t.csv").write_text("text,y\nshort,a\n")
    own = size(rows, test=[str(tmp_path / "t.csv")])
    assert (own.learnt, own.asked) == (100, 1)


def test_long_inputs_count_as_far_as_they_are_read(size):
    assert size([("x" * 40_000, "a")] * 10).tokens == 512
    assert size([("x" * 40_000, "a")] * 10, context=1024).tokens == 1024
    schema = {"type": "object", "properties": {"y": {"type": "string"}, "z": {"type": "string"}}}
    # An extraction reads all of them, in passages.
    assert size([("x" * 40_000, "a")] * 10, kind="extract", answer="", json_schema=schema).tokens > 10_000


def test_what_is_written_costs_more_than_what_is_read(size):
    found = size([("x" * 75, "y" * 80)] * 10, kind="write")
    assert found.written == 20
    assert found.asked_tokens == 28 + WRITTEN * 20


def test_documents_are_not_counted():
    assert job_size(JobConfig(name="j", kind="classify", answer="{y}")) is None
