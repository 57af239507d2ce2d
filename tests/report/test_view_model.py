"""What the page shows of each family: sections, tables and pictures follow the families, not names kept by hand."""

from dataclasses import replace

import pytest
from jinja2 import ChoiceLoader, FileSystemLoader

from tinsmith.evaluate.families import families
from tinsmith.evidence.family import QUALITY, Family, Figures, MetricSpec, Section
from tinsmith.evidence.schema import Comparison, Finding, Generated, MetricRow, System
from tinsmith.report import page
from tinsmith.report.view_model import View
from tinsmith.stages import PURPOSES


def row(subject, metric, value, **more):
    facts = {"subject": subject, "metric": metric, "value": value, "low": value - 0.1, "high": value + 0.1}
    return MetricRow(**facts, label=more.pop("label", metric), items=12, **more)


def answered(subject, name, value):
    return row(subject, f"{name}:kind", value, task="kind", unit="share")


GENERATED = Generated(
    systems=tuple(
        System(
            subject=subject,
            name=name,
            kind="local",
            questions=12,
            asked=12,
            answered=11,
            partial=False,
            input_tokens=9,
            output_tokens=9,
            cost=0.0,
        )
        for subject, name in (("trained", "Ours"), ("api", "api <m>"))
    ),
    metrics=(
        answered("trained", "generated_accuracy", 0.5),
        answered("trained", "generated_unanswered", 0.25),
        answered("api", "generated_accuracy", 0.75),
    ),
    comparisons=(
        Comparison(
            metric="generated_accuracy:kind",
            unit="share",
            a="trained",
            b="api",
            task="kind",
            difference=-0.25,
            low=-0.4,
            high=-0.1,
            p_holm=0.2,
            items=11,
        ),
    ),
    notes=("Partial: api counts with 11 of 12.",),
)


def section(text, name):
    return text.partition(f'<section id="{name}">')[2].partition("</section>")[0]


def test_systems_that_answer_in_words_stand_best_first(built):
    view = View(built.model_copy(update={"generated": GENERATED}), families())
    (table,) = view.task_tables
    assert table.columns == ("Correct", "Names no choice")
    assert [entry.name for entry in table.rows] == ["api <m>", "Ours"]
    assert table.rows[0].cells[1] is None


def test_answers_in_words_have_a_section_only_where_there_are_some(built):
    assert "Answers in words" not in page.render(built, families(), PURPOSES)
    text = page.render(built.model_copy(update={"generated": GENERATED}), families(), PURPOSES)
    shown = section(text, "generated")
    for words in (
        "Answers in words",
        "api &lt;m&gt;",
        "75%",
        "−25 points",
        "may be chance",
        "counts with 11 of 12.",
    ):
        assert words in shown
    assert "api &lt;m&gt;" not in section(text, "quality")
    assert '<a href="#generated">Answers in words</a>' in text


def test_forgetting_stands_in_its_own_section_alone(built):
    figures = tuple(
        row(name, "general_accuracy:arc_easy", value, label="General accuracy, arc easy", unit="share")
        for name, value in (("trained", 0.5), ("base", 0.65))
    )
    lost = Comparison(
        metric="forgetting:arc_easy",
        label="Forgetting, arc easy",
        a="trained",
        b="base",
        difference=-0.15,
        low=-0.2,
        high=-0.1,
    )
    changed = built.model_copy(
        update={
            "metrics": (*built.metrics, *figures),
            "comparisons": (*built.comparisons, lost),
            "findings": built.findings
            | {"general": (Finding(verdict="", text="it forgot", outcome="worse"),)},
        }
    )
    view = View(changed, families())
    assert [column.metric for group in view.figures("general") for column in group.columns] == [
        "general_accuracy:arc_easy"
    ]
    names = {name for part in view.sections if part.name != "general" for name in _metrics(view, part.name)}
    assert not {name for name in names if "general" in name or "forgetting" in name}
    text = page.render(changed, families(), PURPOSES)
    assert "▼ forgot</span> it forgot" in section(text, "general")
    assert "65%" in section(text, "general")
    for words in ("General accuracy", "Forgetting", "arc easy"):
        assert words not in section(text, "quality")


def _metrics(view, name):
    return [column.metric for group in view.figures(name) for column in group.columns] + [
        duel.metric for duel in view.duels(name)
    ]


def test_every_section_of_a_family_has_a_template():
    for part in {family.section for family in families()}:
        source, _, _ = page._environment().loader.get_source(page._environment(), f"{part.name}.html")
        assert source.startswith(f'<section id="{part.name}">')


def test_sections_stand_in_order_and_only_where_there_is_something_to_say(built):
    names = [part.name for part in View(built, families()).sections]
    assert names == ["quality", "ladder", "speed"]
    bare = built.model_copy(update={"metrics": (), "comparisons": (), "findings": {}})
    assert [part.name for part in View(bare, families()).sections] == ["quality"]


def test_a_family_of_an_extension_brings_its_own_section(built, tmp_path, monkeypatch):
    (tmp_path / "tone.html").write_text(
        '<section id="tone"><h2>{{ section.title }}</h2>{% for group in view.figures("tone") %}'
        "{{ m.matrix(group.columns, group.name) }}{% endfor %}</section>"
    )
    plain = page._environment

    def environment():
        made = plain()
        made.loader = ChoiceLoader([made.loader, FileSystemLoader(tmp_path)])
        return made

    monkeypatch.setattr(page, "_environment", environment)
    tone = Family(
        kind="tone",
        order=200,
        metrics=(MetricSpec("politeness", "share", "Politeness", higher_is_better=True),),
        figures=lambda context: Figures(),
        section=Section("tone", "Tone", 15),
    )
    metrics = (*built.metrics, row("trained", "politeness", 0.5, label="Politeness", unit="share"))
    finding = Finding(verdict="It is polite", text="", outcome="polite", front=True)
    changed = built.model_copy(update={"metrics": metrics, "findings": built.findings | {"tone": (finding,)}})
    text = page.render(changed, (*families(), tone), PURPOSES)
    assert "<h2>Tone</h2>" in section(text, "tone")
    assert "50%" in section(text, "tone")
    assert "Politeness" not in section(text, "quality")
    first = text.partition("<main>")[0]
    assert '<a href="#tone">It is polite</a>.' in section(text, "summary")
    assert (
        first.index('<a href="#quality">')
        < first.index('<a href="#tone">Tone</a>')
        < first.index('<a href="#ladder">')
    )
    # A metric of the section quality that its template does not name is shown below its own heading.
    quality = replace(tone, section=QUALITY)
    text = page.render(changed, (*families(), quality), PURPOSES)
    assert "<h3>Politeness</h3>" in section(text, "quality")


def test_points_are_models_whose_quality_and_size_are_known(built):
    view = View(built, families())
    assert {row.subject for _, row in view.points("bytes")} == {"trained", "trained-4bit", "base", "gemma"}
    assert {row.subject: value for value, row in view.points("bytes")}["gemma"] == 253_000_000
    energy = {row.subject: value for value, row in view.points("joules_per_answer")}
    assert energy == {
        name: pytest.approx(1000 / rate)
        for name, rate in (("trained-4bit", 171), ("base", 168), ("gemma", 60))
    }


def test_subjects_are_named_by_their_role(built):
    view = View(built, families())
    assert [view.name(subject) for subject in ("trained", "trained-4bit", "base", "gemma", "unknown")] == [
        "This model",
        "This model as q4_k_m",
        "smollm2-135m, its base",
        "gemma-3-270m",
        "unknown",
    ]
    assert [view.kind(subject) for subject in ("trained", "trained-4bit", "base")] == [
        "ours",
        "ours",
        "other",
    ]
