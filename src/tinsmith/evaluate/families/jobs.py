"""Jobs: how often a model is right at its owner's work, against everybody who was asked the same test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from tinsmith.base.errors import BundleError
from tinsmith.evaluate.job_figures import JobTable, metrics_of
from tinsmith.evaluate.job_grades import QUESTIONS, Grader, likeliest, read_job_questions
from tinsmith.evaluate.job_words import say_job
from tinsmith.evidence.bootstrap import Estimate, Statistic
from tinsmith.evidence.family import (
    Family,
    FamilyCost,
    FigureContext,
    Figures,
    Items,
    MetricSpec,
    Results,
    Section,
    contradiction,
)
from tinsmith.evidence.items import JobAbout, JobAsked, JobQuestion, JobRow
from tinsmith.evidence.outcome import BETTER, UNCLEAR, WORSE
from tinsmith.evidence.schema import (
    OURS,
    OURS_4BIT,
    Comparison,
    Finding,
    JobSummary,
    MetricRow,
    Role,
    role_of,
)
from tinsmith.jobs.answers import UNREADABLE
from tinsmith.jobs.calibration import confidence
from tinsmith.jobs.size import JobSize, job_size
from tinsmith.jobs.spec import FILE, Calibration, Job, read_job
from tinsmith.recipe import Budget, MeterConfig, Recipe

_IN_WORDS = ("endpoint", "recorded")  # systems whose answers are read
_SAME = 1e-6  # of a probability: sums in another order differ by less
_TEST_ROWS, _LEARNT_ROWS = 500, 2000  # that a job is taken to have where its examples are documents
_WORDS, _STATES = 15.0, 105.0  # seconds that linear models over words, and over hidden states, take for a job
_STATES_OF = 50_000  # tokens, of which the hidden states are read in those seconds


def figures(context: FigureContext) -> Figures:
    """Return each job's figures of all subjects, the differences of our files to all others, and what stands beside."""
    stored: Mapping[str, list[JobRow]] = context.items.rows(FAMILY.kind)
    about: Mapping[str, JobAbout] = context.items.values(FAMILY.kind)
    metrics: list[MetricRow] = []
    comparisons: list[Comparison] = []
    jobs: list[JobSummary] = []
    for name, questions in read_job_questions(context.items.folder).items():
        own = {subject: [row for row in rows if row["job"] == name] for subject, rows in stored.items()}
        job = read_job(context.items.jobs / name)
        table = JobTable(job, questions, {subject: rows for subject, rows in own.items() if rows})
        if len(table.places) < 2:
            continue
        found = _metrics(table, context)
        metrics += found
        metrics += _without_words(table, context)
        asked = {subject: facts["jobs"].get(name) for subject, facts in about.items()}
        for subject, facts in asked.items():
            metrics += (
                _cost_rows(name, subject, facts, context.meter, about[subject]["system"]) if facts else ()
            )
        comparisons += _comparisons(table, context)
        baselines = [subject for subject in table.rows if context.role(subject) is Role.BASELINE]
        recorded = {
            subject: facts["recorded"] for subject, facts in asked.items() if facts and facts["recorded"]
        }
        if summary := table.summary(found, baselines, recorded):
            jobs.append(summary)
    return Figures(metrics, comparisons, jobs=jobs)


def _metrics(table: JobTable, context: FigureContext) -> list[MetricRow]:
    bootstrap = context.bootstrap(len(table.places))
    found = []
    for subject, rows in table.rows.items():
        if len({row["group"] for row in rows}) < 2:
            continue  # an endpoint that gave hardly an answer; a gap says why
        for metric, statistic, items in metrics_of(table, rows):
            estimate = bootstrap.estimate(statistic)
            found.append(FAMILY.row(metric, (table.name,), subject, estimate, items, task=table.name))
        apart = [row for row in rows if not row["shared"]]
        if len(apart) < len(rows) and len({row["group"] for row in apart}) > 1:
            found += _slice(table, context, subject, apart, "unshared")
    return found


def _without_words(table: JobTable, context: FigureContext) -> list[MetricRow]:
    """Return what our language model answers alone, if a word model counts beside it."""
    if not table.job.calibration.word_weight:
        return []
    alone = table.job.calibration.model_copy(update={"word_weight": 0.0})
    grader = Grader(table.job.model_copy(update={"calibration": alone}))
    asked = {question["id"]: question for question in table.questions}
    found = []
    for subject in (OURS_4BIT, OURS):
        rows = [
            grader.chosen(asked[row["id"]], log_p)
            for row in table.rows.get(subject, ())
            if (log_p := row["log_p"]) is not None
        ]
        if rows:
            found += _slice(table, context, subject, rows, "without_words")
    return found


def _slice(
    table: JobTable, context: FigureContext, subject: str, rows: Sequence[JobRow], name: str
) -> list[MetricRow]:
    """Return the metrics in which subjects are compared, over rows that are a slice of a subject's."""
    bootstrap = context.bootstrap(len(table.places))
    return [
        FAMILY.row(
            metric,
            (table.name, name),
            subject,
            bootstrap.estimate(statistic),
            items,
            task=table.name,
            slice=name,
        )
        for metric, statistic, items in metrics_of(table, rows)
        if metric in table.compared
    ]


def _comparisons(table: JobTable, context: FigureContext) -> list[Comparison]:
    """Return our files against everybody else, on the rows that both were asked."""
    bootstrap = context.bootstrap(len(table.places))
    found = []
    ours = [subject for subject in (OURS_4BIT, OURS) if subject in table.rows]
    for a, b in ((a, b) for a in ours for b in table.rows if not role_of(b).is_ours):
        ids = {row["id"] for row in table.rows[a]} & {row["id"] for row in table.rows[b]}
        both = {name: [row for row in table.rows[name] if row["id"] in ids] for name in (a, b)}
        if len({row["group"] for row in both[a]}) < 2:
            continue
        sides = {name: _by_metric(table, rows) for name, rows in both.items()}
        for metric in table.compared:
            if metric in sides[a] and metric in sides[b]:
                statistics = {name: side[metric][0] for name, side in sides.items()}
                items = sides[a][metric][1]
                named = ((table.name,), statistics, (a, b), bootstrap)
                found.append(FAMILY.compare(metric, *named, items=items, task=table.name))
    return found


def _by_metric(table: JobTable, rows: Sequence[JobRow]) -> dict[str, tuple[Statistic, int]]:
    return {metric: (statistic, items) for metric, statistic, items in metrics_of(table, rows)}


def _cost_rows(job: str, subject: str, asked: JobAsked, meter: MeterConfig, system: str) -> list[MetricRow]:
    """Return what 1,000 rows cost: seconds and joules as measured, or a price: recorded, or of an endpoint's tokens."""
    file, row = {"file": f"items/{FAMILY.kind}-{subject}.json", "task": job}, partial(FAMILY.row)
    found, scale, rows = [], 1000 / max(1, asked["rows"]), asked["rows"]
    if (seconds := asked["seconds"]) is not None:
        found.append(row("job_seconds", (job,), subject, Estimate(*[scale * seconds] * 3), rows, **file))
    if joules := asked["joules"]:
        energy = [scale * value for value in joules]
        price = [value * meter.pue / 3.6e6 * meter.price_per_kwh for value in energy]
        modelled = file | {"method": asked["method"]}
        found.append(row("job_joules", (job,), subject, Estimate(*energy), rows, **modelled))
        modelled |= {"unit": meter.currency}
        found.append(row("job_energy_price", (job,), subject, Estimate(*price), rows, **modelled))
    if (paid := asked["price_per_1000"]) is not None:
        priced = file | {"unit": meter.currency, "method": "tokens" if system == "endpoint" else "recorded"}
        found.append(row("job_price", (job,), subject, Estimate(*[paid] * 3), rows, **priced))
    return found


def check(items: Items) -> None:
    """Raise BundleError unless each stored answer follows from what the subject gave, and is graded as it should be.

    Probabilities must follow from ln p by the calibration of the job, the prediction and its confidence from them, and
    what is given out from the job's threshold. An answer in words must be what the reader of answers reads in it.
    """
    about: Mapping[str, JobAbout] = items.values(FAMILY.kind)
    stored: Mapping[str, list[JobRow]] = items.rows(FAMILY.kind)
    for name, questions in read_job_questions(items.folder).items():
        asked = {question["id"]: question for question in questions}
        if len(asked) < len(questions):
            raise contradiction(items.folder / QUESTIONS, f"{name}: asks two questions with one id")
        if not (items.jobs / name / FILE).is_file():
            raise contradiction(items.jobs / name, f"has no {FILE}, though {name} has answers")
        job = read_job(items.jobs / name)
        for subject, rows in stored.items():
            own = [row for row in rows if row["job"] == name]
            _check_asked(items, job, subject, own, asked)
            known = about.get(subject, {"jobs": {}})["jobs"].get(name)  # type: ignore[typeddict-item]
            judge = Grader(_judged_by(job, subject, known))
            in_words = subject in about and about[subject]["system"] in _IN_WORDS
            for row in own:
                _check_row(items, judge, subject, row, asked[row["id"]], in_words=in_words)


def _judged_by(job: Job, subject: str, asked: JobAsked | None) -> Job:
    """Return the job with the calibration that a subject's scores were made with: of ours, that of the job."""
    if role_of(subject).is_ours:
        return job
    fitted = asked["calibration"] if asked else None
    return job.model_copy(update={"calibration": Calibration(**(fitted or {}))})


def _check_asked(
    items: Items, job: Job, subject: str, rows: Sequence[JobRow], asked: Mapping[str, JobQuestion]
) -> None:
    ids = [row["id"] for row in rows]
    path, name = items.path(FAMILY.kind, subject), job.config.name
    if len(set(ids)) < len(ids):
        raise contradiction(path, f"{name}: answers a question twice")
    if unknown := set(ids) - asked.keys():
        raise contradiction(path, f"{name}: answers {min(unknown)}, which {QUESTIONS} does not ask")
    if role_of(subject).is_ours and (lost := asked.keys() - set(ids)):
        raise contradiction(path, f"{name}: does not answer {min(lost)}")


def _check_row(
    items: Items, judge: Grader, subject: str, row: JobRow, question: JobQuestion, *, in_words: bool
) -> None:
    expected: dict[str, object] = {name: question[name] for name in ("answer", "group", "shared")}  # type: ignore[literal-required]
    job, prediction = judge.job, row["prediction"]
    if row["log_p"] is not None:
        scores = confidence(job, row["log_p"], question["input"])
        stored = row["scores"] or {}
        if scores.keys() != stored.keys() or any(abs(scores[each] - stored[each]) > _SAME for each in scores):
            raise _row_error(items, job, subject, row, "scores", row["scores"], scores)
        prediction = likeliest(stored)
        expected |= {"confidence": stored[prediction]}
    elif row["raw"] is not None:
        prediction = judge.read(row["raw"])
    elif in_words:
        prediction = UNREADABLE  # a refusal; who answers in words has no answer without them
    expected |= {"prediction": prediction, "correct": judge.grade(question, prediction)}
    expected |= {"given": judge.is_given(prediction, row["confidence"])}
    for field, value in expected.items():
        if row[field] != value:  # type: ignore[literal-required]
            raise _row_error(items, job, subject, row, field, row[field], value)  # type: ignore[literal-required]


def _row_error(
    items: Items, job: Job, subject: str, row: JobRow, field: str, stored: object, value: object
) -> BundleError:
    what = f"{job.config.name}, {row['id']}: {field} is {stored!r}, its row gives {value!r}"
    return contradiction(items.path(FAMILY.kind, subject), what)


def findings(results: Results) -> list[Finding]:
    """Say of each job how often the model is right, against whom, and what it costs; where to use something simpler."""
    return [finding for job in results.metrics.jobs or () for finding in say_job(job, results)]


def _cost(recipe: Recipe, bytes_per_token: float) -> FamilyCost:
    """Return the tokens that a model reads; ours are asked the whole test, in two files, others at most `job_items`."""
    shots = max(1, len(recipe.evaluate.shots))
    taught = len(recipe.evaluate.trained_rivals) + bool(recipe.evaluate.encoder)
    tokens = seconds = 0.0
    for job in recipe.jobs:
        size = job_size(job) or JobSize(_LEARNT_ROWS, _TEST_ROWS, job.context / 4)
        labelled = job.kind == "classify" and not job.several
        # Base and rivals are asked once for each number of examples.
        others = shots * min(size.asked, recipe.evaluate.job_items)
        tokens += max(size.asked, others) * size.asked_tokens
        read = min(size.learnt * size.tokens, 1.2 * recipe.evaluate.frozen_tokens)
        states = _STATES * (read + bool(read) * size.asked * size.tokens) / _STATES_OF
        baselines = _WORDS + (0.0 if recipe.model.scratch else states) if labelled else 0.0
        seconds += baselines + taught * Budget.parse(job.budget).amount
    if not recipe.ingest.sources:  # else questions on documents count the minutes of endpoints
        seconds += 60 * sum(endpoint.max_minutes for endpoint in recipe.evaluate.endpoints)
    return FamilyCost(tokens, "all", seconds)


FAMILY = Family(
    kind="job",
    order=5,
    metrics=(
        MetricSpec("job_accuracy", "share", "Right", higher_is_better=True),
        MetricSpec("job_weighted_f1", "share", "Weighted F1", higher_is_better=True),
        MetricSpec("job_macro_f1", "share", "Macro F1", higher_is_better=True),
        MetricSpec("job_balanced_accuracy", "share", "Balanced accuracy of a job", higher_is_better=True),
        MetricSpec("job_micro_f1", "share", "Micro F1", higher_is_better=True),
        MetricSpec("job_exact_sets", "share", "Exact sets of labels", higher_is_better=True),
        MetricSpec("job_span_f1", "share", "Span F1 where present", higher_is_better=True),
        MetricSpec("job_none_said", "share", "Says none where absent", higher_is_better=True),
        MetricSpec("job_exact_match", "share", "Exact match", higher_is_better=True),
        MetricSpec("job_answer_f1", "share", "F1 of words", higher_is_better=True),
        MetricSpec("job_agreement", "share", "Agreement with the right text", higher_is_better=True),
        MetricSpec("job_checks_kept", "share", "Answers that keep every check", higher_is_better=True),
        MetricSpec(
            "job_checks_kept_at_once", "share", "First answers that keep every check", higher_is_better=True
        ),
        MetricSpec(
            "job_invented_numbers",
            "share",
            "Given answers with a number the input lacks",
            higher_is_better=False,
        ),
        MetricSpec("job_calibration_error", "share", "Expected calibration error", higher_is_better=False),
        MetricSpec("job_given", "share", "Answered", higher_is_better=True),
        MetricSpec("job_right_given", "share", "Right among the answered", higher_is_better=True),
        MetricSpec("job_unreadable", "share", "Unreadable answers", higher_is_better=False),
        MetricSpec("job_seconds", "s", "Seconds for 1,000 items", higher_is_better=False),
        MetricSpec("job_joules", "J", "Joules for 1,000 items", higher_is_better=False),
        MetricSpec("job_energy_price", "", "Energy price of 1,000 items", higher_is_better=False),
        MetricSpec("job_price", "", "Price of 1,000 items", higher_is_better=False),
    ),
    figures=figures,
    check=check,
    cost=_cost,
    section=Section("jobs", "Jobs", 5),
    findings=findings,
    front=frozenset({BETTER, UNCLEAR, WORSE}),
)
