"""Paragraphs that several documents repeat stay in one of them."""

from pathlib import Path

from corpus.frames import decisions, frame
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.steps import boilerplate
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import BoilerplateConfig

CLAUSE = "Neither party is liable for any delay that is due to causes beyond its reasonable control at all."
OWN = [
    " ".join(f"{topic}{number}" for number in range(60))
    for topic in ("harbour", "orchard", "railway", "library")
]


def find(tmp_path: Path, texts: list[str], name: str = "a", **fields):
    outcome = boilerplate.run(
        BoilerplateConfig(min_documents=3, **fields),
        StepInput(
            documents=frame(tmp_path / name / "documents.parquet", texts),
            held_out=frame(tmp_path / name / "held_out.parquet", ["x"]),
            out=tmp_path / name,
            seed=1,
            progress=SilentProgress(),
        ),
    )
    return decisions(outcome.decisions), outcome.statistics


def test_a_repeated_paragraph_stays_in_the_smallest_id_only(tmp_path: Path):
    texts = [f"{own}\n\n{CLAUSE}\n\nEnd of {own[:9]}." for own in OWN[:3]] + [OWN[3]]
    found, statistics = find(tmp_path, texts)
    bearers = sorted(document_id(text) for text in texts[:3])
    assert set(found) == set(bearers[1:])
    for row in found.values():
        assert row["reason"] == "boilerplate"
        assert CLAUSE not in row["text"]
        assert "End of" in row["text"]
    assert statistics["paragraphs_repeated"] == 1
    (shown,) = read_jsonl(tmp_path / "a" / "boilerplate.jsonl")
    assert (shown["documents"], shown["kept_in"]) == (3, bearers[0])
    assert shown["opening"].startswith("Neither party")
    assert shown["bytes_saved"] == statistics["bytes_saved"] > 2 * len(CLAUSE)


def test_case_and_white_space_do_not_count_and_numbers_only_where_asked(tmp_path: Path):
    same = [CLAUSE, CLAUSE.upper(), CLAUSE.replace(" ", "  ")]
    found, _ = find(tmp_path, [f"{own}\n\n{clause}" for own, clause in zip(OWN, same, strict=False)])
    assert len(found) == 2
    numbered = [f"{own}\n\n{CLAUSE} See clause {n}." for n, own in enumerate(OWN)]
    assert not find(tmp_path, numbered, "b")[0]
    assert len(find(tmp_path, numbered, "c", ignore_numbers=True)[0]) == 3


def test_two_bearers_and_short_paragraphs_are_left_alone(tmp_path: Path):
    assert not find(tmp_path, [f"{own}\n\n{CLAUSE}" for own in OWN[:2]] + OWN[2:])[0]
    assert not find(tmp_path, [f"{own}\n\nAll rights reserved." for own in OWN], "b")[0]


def test_a_document_of_nothing_else_goes_but_not_the_one_that_keeps_it(tmp_path: Path):
    texts = [f"{CLAUSE}\n\nSigned by {name}." for name in ("Ann", "Bob", "Cyd")]
    found, _ = find(tmp_path, texts)
    assert [row["reason"] for row in found.values()] == ["mostly_boilerplate"] * 2
    assert all(row["text"] is None for row in found.values())


def test_the_order_of_rows_does_not_count(tmp_path: Path):
    texts = [f"{own}\n\n{CLAUSE}" for own in OWN]
    assert find(tmp_path, texts)[0] == find(tmp_path, texts[::-1], "b")[0]
