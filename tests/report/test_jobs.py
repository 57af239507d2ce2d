"""The page of a bundle with jobs: its first screen speaks of the job, a section tells the rest, escaped and typed."""

import re
from pathlib import Path
from typing import Any

import pytest

from report.fake_jobs import JOB
from report.fake_runs import make_bundle, make_recipe
from report.test_front import first
from report.test_page import EVIL, Page, _numbers, read_page
from tinsmith.base.files import read_json
from tinsmith.evaluate.families import families
from tinsmith.evidence.schema import CoveragePoint, Finding
from tinsmith.report.compare import first_difference
from tinsmith.report.evidence import build_evidence
from tinsmith.report.front import first_screen
from tinsmith.report.page import render
from tinsmith.report.schema import Evidence
from tinsmith.report.trust import on_trust
from tinsmith.report.view_model import ParityRow, View

QUICK = {"rivals": ["gemma-3-270m"], "bootstrap": 200}
ALONE: dict[str, Any] = {"name": "stance", "ingest": {}, "tasks": [], "jobs": [JOB], "evaluate": QUICK}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a job without documents, not to be changed."""
    return make_bundle(tmp_path_factory.mktemp("job"), make_recipe(**ALONE))


@pytest.fixture(scope="module")
def told(alone: Path) -> Evidence:
    """The evidence of that bundle."""
    return build_evidence(alone, families())


def better(evidence: Evidence, **outcomes: str) -> Evidence:
    """Return the evidence with other outcomes of the differences to some subjects, all others better."""
    duels = tuple(
        duel.model_copy(update={"outcome": outcomes.get(duel.other.replace("-", "_"), "better")})
        for duel in evidence.verdict.duels
    )
    return evidence.model_copy(update={"verdict": evidence.verdict.model_copy(update={"duels": duels})})


def sentences(evidence: Evidence, **of_job: Any) -> tuple[str, ...]:
    """Return the sentences of the first screen after changes to the job's record."""
    jobs = [job.model_copy(update=of_job) for job in evidence.jobs or ()]
    return first_screen(evidence.model_copy(update={"jobs": tuple(jobs)})).sentences


def test_the_first_screen_speaks_of_the_job(told: Evidence) -> None:
    right, sure, costs = told.first.sentences
    assert right == (
        "It gives the right stance for 73 of 100 texts; gpt-4 for 67, a linear model over words (naive Bayes) for "
        "55."
    )
    assert sure == "It is shown to be better than 7 of 8 others; against gpt-4 the difference may be chance."
    assert costs.startswith(
        "1,000 texts take 12 s, 181 J and under EUR 0.0001 of electricity here; the recorded price of gpt-4 is EUR 9.1"
    )
    screen = first(told)
    assert screen.count("<p") == 5
    assert screen.count("<svg") == 1
    assert told.first.subjects[:2] == ("trained-4bit", "gpt-4")
    assert len(told.first.subjects) == 7
    assert screen.index("This model as q4_k_m</text>") < screen.index("gpt-4</text>")


def test_where_a_linear_model_wins_the_first_words_say_to_use_it(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, make_recipe(**ALONE), right={"tfidf": 0.9, "hidden_states": 0.95})
    first_words, sure, _ = read_json(bundle / "evidence.json")["first"]["sentences"]
    assert first_words.startswith("Use the linear model: it gives the right stance for 9")
    assert first_words.endswith(" of 100 texts, this model for 73.")
    assert sure.startswith("This model is shown to be better than ")
    assert "a linear model over words" in sure
    assert sure.endswith("are shown to be better.")
    assert 'class="verdict worse"' in (bundle / "report.html").read_text()


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ({}, "That it is better than each of the 8 others is shown."),
        (
            {"gpt_4": "worse", "tfidf": "not shown to be better"},
            "It is shown to be better than 6 of 8 others; against a linear model over words (TF-IDF) the "
            "difference may be chance; gpt-4 is shown to be better.",
        ),
        (
            {
                "gpt_4": "worse",
                "gemma": "worse",
                "tfidf": "not shown to be better",
                "base": "not shown to be better",
            },
            "It is shown to be better than 4 of 8 others; against the base smollm2-135m and 1 more the difference may "
            "be chance; gemma-3-270m and 1 more are shown to be better.",
        ),
        (
            dict.fromkeys(("gpt_4", "gemma", "base", "tfidf"), "not shown to be better"),
            "It is shown to be better than 4 of 8 others; against the base smollm2-135m, gemma-3-270m and 2 more the "
            "difference may be chance.",
        ),
    ],
)
def test_how_sure_it_is_is_said_by_outcome(told: Evidence, outcomes: dict[str, str], said: str) -> None:
    assert sentences(better(told, **outcomes))[1] == said


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("better", "That it is better than the one other is shown."),
        ("not shown to be better", "It is not shown to be better than gpt-4."),
        ("worse", "It is shown to be worse than gpt-4."),
    ],
)
def test_a_single_other_is_named(told: Evidence, outcome: str, said: str) -> None:
    evidence = better(told, gpt_4=outcome)
    alone = tuple(duel for duel in evidence.verdict.duels if duel.other == "gpt-4")
    verdict = evidence.verdict.model_copy(update={"duels": alone})
    assert sentences(evidence.model_copy(update={"verdict": verdict}))[1] == said


def test_of_texts_it_is_said_how_many_are_withheld(told: Evidence) -> None:
    """A text that is given keeps the checks; whether it is right nobody says."""
    (job,) = told.jobs or ()
    (headline,) = (row for row in told.metrics if (row.metric, row.subject) == (job.headline, job.subject))
    shares = {"job_given": 0.25, "job_right_given": 1.0, "job_checks_kept": 0.25}
    rows = [
        headline.model_copy(update={"metric": f"{name}:stance", "value": value})
        for name, value in shares.items()
    ]
    changed = told.model_copy(update={"metrics": (*told.metrics, *rows)})
    costs = sentences(changed, kind="write")[2]
    assert costs.endswith("75 of 100 are withheld and go to a person, the others keep all checks.")
    unchecked = told.model_copy(update={"metrics": (*told.metrics, rows[0])})
    assert sentences(unchecked, kind="write")[2].endswith("75 of 100 are withheld and go to a person.")


@pytest.mark.parametrize(
    ("coverage", "said"),
    [
        (
            [(0.9, 0.25, 1.0), (0.6, 0.6, 0.92), (0.4, 1.0, 0.7)],
            "for 9 of 10 answers to be right, 40 of 100 go to a person.",
        ),
        ([(0.9, 0.5, 1.0), (0.4, 1.0, 0.95)], "nothing is left to a person."),
        ([(0.9, 0.5, 0.8), (0.4, 1.0, 0.7)], "no answers are so sure that 9 of 10 of them are right."),
        ([], "nothing is left to a person."),
    ],
)
def test_what_is_left_to_a_person_is_said(
    told: Evidence, coverage: list[tuple[float, float, float]], said: str
) -> None:
    points = tuple(CoveragePoint(confidence=c, given=g, right=r) for c, g, r in coverage)
    assert sentences(told, coverage=points)[2].endswith(said)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("job_exact_match", "It gives the exact stance for 73 of 100 questions; gpt-4 for 67"),
        ("job_micro_f1", "It finds the labels of stance with an F1 of 73 in 100; gpt-4 with 67"),
        ("job_span_f1", "It finds the fields of stance with an F1 of 73 in 100; gpt-4 with 67"),
        (
            "job_agreement",
            "It writes a stance that agrees with the right text in 73 of 100 parts; gpt-4 in 67",
        ),
        ("job_of_an_extension", "It is right at stance in 73 of 100 cases; gpt-4 in 67"),
    ],
)
def test_jobs_of_other_kinds_say_what_they_do(told: Evidence, metric: str, said: str) -> None:
    (job,) = told.jobs or ()
    rows = [
        row.model_copy(update={"metric": f"{metric}:stance"}) if row.metric == job.headline else row
        for row in told.metrics
    ]
    changed = told.model_copy(update={"metrics": tuple(rows)})
    assert sentences(changed, headline=f"{metric}:stance")[0].startswith(said)


def test_a_job_alone_has_no_word_about_documents_and_no_empty_section(alone: Path, told: Evidence) -> None:
    page = read_page(alone)
    assert page.open == []
    assert "document" not in page.text.lower()
    assert "Bits per byte" not in page.text
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert ids == ["jobs", "summary", "footprint", "provenance", "not-proven"]
    assert "Stance: the difference to gpt-4 may be chance." in told.not_proven
    for words in ("has no task", "names no rival", "was not tested", "No parity check"):
        assert not any(words in gap for gap in told.not_proven), words


def test_a_job_beside_documents_comes_first_and_bits_below(tmp_path: Path) -> None:
    recipe = make_recipe(jobs=[JOB | {"ask_a_person": 0.85}], evaluate=QUICK)
    bundle = make_bundle(tmp_path, recipe)
    page = read_page(bundle)
    assert page.open == []
    order = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert order[:3] == ["jobs", "summary", "quality"]
    assert {"documents", "curation", "training", "exports"} <= set(order)
    evidence = build_evidence(bundle, families())
    assert "bits" not in " ".join(evidence.first.sentences)
    assert re.search(
        r"; \d+ of 100 go to a person, of the others \d+% are right\.$", evidence.first.sentences[2]
    )
    stored = read_json(bundle / "evidence.json")
    assert first_difference(stored, evidence) is None
    for field in ("jobs", "job_files", "first"):
        assert first_difference(stored | {field: "forged"}, evidence) == field


def test_the_section_of_a_job_has_everything_beside_its_figures(alone: Path, told: Evidence) -> None:
    page = read_page(alone)
    (job,), (files,) = told.jobs or (), told.job_files
    assert job.headline == "job_accuracy:stance"
    values = {row.value for row in told.metrics if row.metric == job.headline}
    assert values <= set(page.tables["job-stance"])
    assert sum(page.tables["job-confusion"]) == job.items == 496
    assert len([value for value in page.tables["job-mistakes"] if value <= 1]) == len(job.mistakes) == 20
    assert len(files.suspects) == 20
    assert files.suspected == 23
    for words in (
        "Stance on monetary policy:",
        "after learning from 1,588 examples",
        "tinsmith run BUNDLE file.csv -o answered.csv",
        "Expected calibration error",
        "From 500 to 1,588 examples it gained 8.0 points, so labelling more is likely to be worth it.",
        "23 rows, the first 20",
        "16 of 496 rows of the test also stand in the examples",
        "2 rows gave no example: no answer.",
        "The run itself",
        "recorded 2023-05, the paper's own file",
        "This page and the bundle hold texts",
        "Recorded answers of gpt-4: 496 of 496 questions have one",
    ):
        assert words in page.text, words
    assert page.tables["job-parity"].count(0.985) == 3
    assert "Same label" in page.text
    known = set(_numbers(read_json(alone / "evidence.json")))
    assert {value for values in page.tables.values() for value in values} <= known


def test_what_a_person_does_follows_the_curve(told: Evidence) -> None:
    (job,) = View(told, families()).jobs
    points = ((0.9, 0.3, 0.96), (0.7, 0.5, 0.91), (0.4, 1.0, 0.7))
    coverage = tuple(CoveragePoint(confidence=c, given=g, right=r) for c, g, r in points)
    assert job.summary is not None
    job.summary = job.summary.model_copy(update={"coverage": coverage})
    assert job.left_to_a_person == [(0.8, "50 of 100"), (0.9, "50 of 100"), (0.95, "70 of 100")]
    job.summary = job.summary.model_copy(update={"coverage": coverage[2:]})
    assert job.left_to_a_person[0] == (0.8, "all, no answers are that sure")


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ((0.6, 0.7), "so labelling more is likely to be worth it."),
        ((0.66, 0.7), "whether labelling more is worth it is not shown."),
        ((0.7, 0.702), "labelling more of the same is not likely to help."),
    ],
)
def test_whether_labelling_more_is_worth_it_follows_the_intervals(
    told: Evidence, right: tuple[float, float], said: str
) -> None:
    (files,) = told.job_files
    curve = [
        point.model_copy(update={"right": share, "low": share - 0.05, "high": share + 0.05})
        for point, share in zip(files.curve[-2:], right, strict=True)
    ]
    changed = told.model_copy(update={"job_files": (files.model_copy(update={"curve": tuple(curve)}),)})
    (job,) = View(changed, families()).jobs
    assert job.worth.endswith(said)


def test_hostile_texts_of_mistakes_and_suspects_stay_text(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, make_recipe(**ALONE), evil=EVIL)
    raw = (bundle / "report.html").read_text(encoding="utf-8")
    page = Page(raw)
    assert not [tag for tag, _ in page.tags if tag in {"script", "img"}]
    assert page.text.count(EVIL) == 20 + 20
    assert "<script>" not in raw


def test_a_bundle_holds_each_job_with_what_learning_left_and_counts_of_what_gave_no_example(
    alone: Path,
) -> None:
    folder, runs = alone / "jobs" / "stance", alone.parent / "runs"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("model", "gguf", "job.json", "parity.json"),
        *("suspects.jsonl", "curve.jsonl", "search.jsonl", "notes.jsonl", "rejects.json"),
    }
    weights = "jobs/stance/model/model.safetensors"
    assert (alone / weights).samefile(runs / "package" / weights)
    assert read_json(folder / "rejects.json") == {"no_answer": 2}
    files = [str(path.relative_to(alone)) for path in alone.rglob("*") if path.is_file()]
    trusted = "\n".join(on_trust(files, families(), deep=False))
    assert (
        "jobs/*/model/*, jobs/*/gguf/*, jobs/*/job.json: that these weights and this calibration" in trusted
    )
    assert "items/jobs.jsonl: that these are rows of the test" in trusted


def test_a_job_with_many_labels_lists_what_it_confuses(told: Evidence) -> None:
    jobs = [job.model_copy(update={"labels": tuple(map(str, range(20)))}) for job in told.jobs or ()]
    text = render(told.model_copy(update={"jobs": tuple(jobs)}), families(), {})
    table = text.partition('data-table="job-confusion"')[2].partition("</table>")[0]
    assert "<th>Right answer</th><th>What the model says</th>" in table
    rows = [int(value) for value in re.findall(r'data value="(\d+)"', table)]
    assert rows == sorted(rows, reverse=True)


def test_other_jobs_stand_on_the_first_screen_as_links(told: Evidence) -> None:
    (job,) = told.jobs or ()
    other = job.model_copy(update={"job": "which_clause", "headline": "job_accuracy:which_clause"})
    rows = [
        row.model_copy(update={"metric": other.headline, "value": 0.9})
        for row in told.metrics
        if row.metric == job.headline
    ]
    both = told.model_copy(update={"jobs": (job, other), "metrics": (*told.metrics, *rows)})
    assert first_screen(both).sentences == told.first.sentences
    assert re.search(r'href="#job-which_clause">Which clause: 90 in 100</a>', first(both))
    assert "file.csv -o answered.csv --job stance" in render(both, families(), {})


def test_a_job_that_could_not_be_measured_is_named_on_the_first_screen(told: Evidence) -> None:
    finding = Finding(
        verdict="That gpt-9 was asked is not shown", text="No key.", outcome="not shown", front=True
    )
    findings = told.findings | {"jobs": (*told.findings["jobs"], finding)}
    page = render(told.model_copy(update={"findings": findings}), families(), {})
    assert 'href="#jobs">That gpt-9 was asked is not shown</a>' in page.partition("</header>")[0]
    assert "<strong>That gpt-9 was asked is not shown.</strong> No key." in page.partition("</header>")[2]


def test_a_job_of_which_nothing_was_measured_is_said_plainly(told: Evidence) -> None:
    bare = told.model_copy(update={"jobs": None, "metrics": (), "comparisons": (), "subjects": ()})
    page = Page(render(bare.model_copy(update={"first": first_screen(bare)}), families(), {}))
    assert page.open == []
    assert "It was not measured." in page.text


def test_a_file_that_gives_other_labels_than_the_model_is_out_of_bounds() -> None:
    row = ParityRow(format="q4_k_m", same_label=0.9, bound_same_label=0.8)
    assert row.holds
    assert not row.model_copy(update={"same_label": 0.7}).holds


def test_a_job_alone_leaves_no_summaries_of_documents(alone: Path) -> None:
    names = {str(path.relative_to(alone / "data")) for path in (alone / "data").rglob("*") if path.is_file()}
    assert names == {"metrics.json"}
