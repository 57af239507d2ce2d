"""The first screen: at most three sentences, one picture, and a line of links to what is bad or not shown."""

import re

import pytest

from tinsmith.evaluate.families import families
from tinsmith.evidence.schema import BoundCheck, Finding, Gap
from tinsmith.report.front import first_screen
from tinsmith.report.page import render
from tinsmith.report.schema import Evidence
from tinsmith.report.view_model import View

_END = re.compile(r"[.!?](?=\s|$)")  # of a sentence


def first(evidence: Evidence) -> str:
    """Return the markup of the first screen."""
    return render(evidence, families(), {}).partition('id="first"')[2].partition("</header>")[0]


def test_it_has_at_most_three_sentences_and_one_picture(built: Evidence) -> None:
    assert [len(_END.findall(sentence)) for sentence in built.first.sentences] == [1, 1, 1]
    screen = first(built)
    assert re.findall(r"<p[ >].*?</p>", screen, re.DOTALL)[1:4] == re.findall(
        r"<p[^>]*>(?:It predicts|In multiple|Making).*?</p>", screen
    )
    assert screen.count("<p") == 5  # with the line above the title, and the line of links
    assert screen.count("<svg") == 1
    assert "<dl" not in screen
    assert "<table" not in screen


def test_losses_come_before_gains(built: Evidence) -> None:
    duels = [
        duel.model_copy(update={"outcome": "worse"}) if duel.other == "gemma" else duel
        for duel in built.verdict.duels
    ]
    evidence = built.model_copy(update={"verdict": built.verdict.model_copy(update={"duels": tuple(duels)})})
    assert first_screen(evidence).sentences[0] == (
        "It predicts unseen documents with 10% more bits than gemma-3-270m and with 27% fewer bits than its base "
        "smollm2-135m."
    )


def test_the_picture_has_ours_on_top_and_a_bar_with_interval_for_each_model(built: Evidence) -> None:
    assert built.first.subjects == ("trained", "gemma", "base")
    screen = first(built)
    assert screen.count('class="bar') == 3
    assert screen.count('class="whisker"') == 9
    assert screen.index("This model") < screen.index("gemma-3-270m</text>")


@pytest.mark.parametrize(
    ("outcomes", "named"),
    [
        (("leaks",), ["▼ A finding 0"]),
        (("leaks", "found", "leaks"), ["▼ A finding 0", "▼ 2 more"]),
        (("not shown", "not shown"), ["○ A finding 0", "○ 1 more"]),
        (("kept", "found", "not shown"), ["▼ A finding 1", "○ A finding 2"]),
        ((), []),
    ],
)
def test_what_is_bad_or_not_shown_stays_on_it_by_name_as_a_link(
    built: Evidence, outcomes: tuple[str, ...], named: list[str]
) -> None:
    rows = [
        Finding(verdict=f"A finding {n}", text="", outcome=outcome, front=True)
        for n, outcome in enumerate(outcomes)
    ]
    view = View(built.model_copy(update={"findings": {"leakage": tuple(rows)}}), families())
    marks = {"worse": "▼", "not shown to be better": "○"}
    told = [f"{marks[pointer.outcome]} {pointer.text}" for pointer in view.pointers]
    assert told == [*named, f"○ {len(built.not_proven)} things not proven"]


def test_a_broken_bound_is_named_and_a_gap_comes_before_what_is_not_shown(built: Evidence) -> None:
    bound = BoundCheck(
        metric="bits_per_byte", label="Bits per byte", side="at_most", bound=0.5, kept=False, value=1
    )
    unknown = [
        Finding(verdict=name, text="", outcome="not shown", front=True) for name in ("A leak", "An audit")
    ]
    gap = Gap(kind="canaries", what="An audit", why="it could not run")
    update = {"bounds": (bound,), "gaps": (gap,), "findings": {"leakage": tuple(unknown)}}
    view = View(built.model_copy(update=update), families())
    assert [pointer.text for pointer in view.pointers[:3]] == [
        "Out of bounds: Bits per byte",
        "An audit",
        "1 more",
    ]
    assert 'class="unclear" href="#leakage">An audit</a>' in first(built.model_copy(update=update))
