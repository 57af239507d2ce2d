"""Figures of jobs against plain lines of numpy and scikit-learn, and stored answers that contradict themselves."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from family_figures import CONFIG, by_metric, make_context
from job_items import LABELS, UNKNOWN, make_job, make_questions, said_rows, store_job, sure_rows
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, read_jsonl, write_json, write_jsonl
from tinsmith.evaluate.families.jobs import FAMILY
from tinsmith.evaluate.job_figures import JobTable, metrics_of
from tinsmith.evaluate.job_grades import Grader
from tinsmith.evaluate.metrics import compute_metrics
from tinsmith.evidence.family import Results
from tinsmith.evidence.outcome import find_duels
from tinsmith.evidence.schema import Role
from tinsmith.jobs.calibration import expected_calibration_error
from tinsmith.jobs.spec import Calibration, read_job
from tinsmith.jobs.word_model import fit_words

ROLES = {"trained": None, "trained-4bit": None, "base": None, "gpt-4": Role.RIVAL, "tfidf": Role.BASELINE}


@pytest.fixture
def job():
    return make_job()


@pytest.fixture
def questions():
    return make_questions(shared=6)


@pytest.fixture
def stored(tmp_path, job, questions):
    rows = {
        "trained": sure_rows(job, questions, right=0.9),
        "trained-4bit": sure_rows(job, questions, right=0.85),
        "base": said_rows(job, questions[:40], right=0.2),
        "gpt-4": said_rows(job, questions, right=0.6),
        "tfidf": said_rows(job, questions, right=0.5),
    }
    store_job(tmp_path, job, questions, rows, {"gpt-4": "recorded", "tfidf": "baseline"})
    return tmp_path


def _figures(folder):
    return FAMILY.figures(make_context(folder, ROLES))


def _rows(folder, subject):
    return list(read_jsonl(folder / f"job-{subject}.jsonl"))


def _change(folder, subject, change, place=10):
    rows = _rows(folder, subject)
    rows[place] |= change(rows[place]) if callable(change) else change
    write_jsonl(folder / f"job-{subject}.jsonl", rows)


def test_figures_are_those_of_scikit_learn(stored):
    rows, found = _rows(stored, "trained-4bit"), by_metric(_figures(stored), "trained-4bit")
    true, said = [row["answer"] for row in rows], [row["prediction"] for row in rows]
    expected = {
        "job_accuracy": np.mean([a == b for a, b in zip(true, said)]),
        "job_weighted_f1": f1_score(true, said, average="weighted"),
        "job_macro_f1": f1_score(true, said, average="macro"),
        "job_balanced_accuracy": balanced_accuracy_score(true, said),
        "job_calibration_error": expected_calibration_error(
            [row["confidence"] for row in rows], [row["correct"] for row in rows]
        ),
    }
    for name, value in expected.items():
        assert found[f"{name}:stance"].value == pytest.approx(value), name
    apart = [row for row in rows if not row["shared"]]
    assert found["job_accuracy:stance:unshared"].value == np.mean([row["correct"] for row in apart])
    assert found["job_accuracy:stance:unshared"].items == 54
    assert "job_macro_f1:stance:unshared" not in found


def test_intervals_are_those_of_ten_plain_lines(stored):
    rows, found = _rows(stored, "trained-4bit"), _figures(stored)
    groups = list(dict.fromkeys(row["group"] for row in rows))
    drawn = np.random.default_rng(3).multinomial(20, np.full(20, 1 / 20), size=CONFIG.bootstrap)
    values = []
    for draw in drawn:
        kept = [row for row in rows for _ in range(draw[groups.index(row["group"])])]
        values.append(
            f1_score([r["answer"] for r in kept], [r["prediction"] for r in kept], average="weighted")
        )
    row = by_metric(found, "trained-4bit")["job_weighted_f1:stance"]
    assert (row.low, row.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_a_subject_with_rows_of_one_group_has_no_figure(stored, job, questions):
    rows = [row for row in _rows(stored, "gpt-4") if row["group"] == questions[0]["group"]]
    write_jsonl(stored / "job-gpt-4.jsonl", rows)
    assert rows
    found = [row for row in _figures(stored).metrics if row.subject == "gpt-4"]
    assert not [row for row in found if row.metric.startswith(("job_accuracy", "job_weighted_f1"))]


def test_our_files_are_compared_with_everybody_on_the_rows_that_both_answered(stored):
    found = [row for row in _figures(stored).comparisons if row.name == "job_accuracy"]
    assert [(row.a, row.b, row.items) for row in found] == [
        ("trained-4bit", "base", 40),
        ("trained-4bit", "gpt-4", 60),
        ("trained-4bit", "tfidf", 60),
        ("trained", "base", 40),
        ("trained", "gpt-4", 60),
        ("trained", "tfidf", 60),
    ]
    ours, base = _rows(stored, "trained-4bit")[:40], _rows(stored, "base")
    expected = np.mean([row["correct"] for row in ours]) - np.mean([row["correct"] for row in base])
    assert found[0].difference == pytest.approx(expected)
    assert found[0].detectable > 0


def test_what_stands_beside_the_figures_is_counted_from_our_4_bit_file(stored):
    (summary,) = _figures(stored).jobs
    rows = _rows(stored, "trained-4bit")
    assert (summary.subject, summary.headline) == ("trained-4bit", "job_accuracy:stance")
    assert (summary.items, summary.groups, summary.shared) == (60, 20, 6)
    assert sum(cell.items for cell in summary.confusion) == 60
    wrong = sum(cell.items for cell in summary.confusion if cell.answer != cell.prediction)
    assert wrong == sum(not row["correct"] for row in rows) == len(summary.mistakes)
    sure = [mistake.confidence for mistake in summary.mistakes]
    assert sure == sorted(sure, reverse=True)
    assert sum(each.items for each in summary.reliability) == 60
    assert summary.coverage[-1].given == 1.0
    assert summary.coverage[-1].right == pytest.approx(np.mean([row["correct"] for row in rows]))
    assert summary.mistakes[0].input.startswith("Sentence")


def test_what_goes_to_a_person_is_counted_apart(tmp_path, questions):
    job = make_job(least=0.6)
    store_job(tmp_path, job, questions, {"trained": sure_rows(job, questions, right=0.9)})
    rows, found = _rows(tmp_path, "trained"), by_metric(FAMILY.figures(make_context(tmp_path, ("trained",))))
    given = [row for row in rows if row["given"]]
    assert 0 < len(given) < 60
    assert found["job_given:stance"].value == len(given) / 60
    assert found["job_right_given:stance"].value == np.mean([row["correct"] for row in given])
    assert found["job_accuracy:stance"].value == np.mean([row["correct"] for row in rows])


def test_1000_items_cost_what_was_measured_or_recorded(stored):
    paid = UNKNOWN | {"seconds": None, "joules": None, "price_per_1000": 2.5}
    write_json(stored / "job-gpt-4.json", {"fingerprint": "", "system": "recorded", "jobs": {"stance": paid}})
    figures = _figures(stored)
    ours, other = by_metric(figures, "trained-4bit"), by_metric(figures, "gpt-4")
    assert ours["job_seconds:stance"].value == pytest.approx(50.0)
    assert ours["job_joules:stance"].low == pytest.approx(20 * 1000 / 60)
    assert (other["job_price:stance"].value, other["job_price:stance"].unit) == (2.5, "EUR")
    assert "job_seconds:stance" not in other


@pytest.fixture
def with_words(tmp_path, questions):
    """A job whose labels stand in the texts, and a language model that knows half of them."""
    questions = [row | {"input": f"{row['input']} It is {row['answer']}."} for row in questions]
    texts = ([row["input"] for row in questions], [row["answer"] for row in questions])
    words, _ = fit_words(LABELS, texts, ([], []), seed=0)
    plain = make_job()
    calibration = plain.calibration.model_copy(update={"word_weight": 50.0})
    job = plain.model_copy(update={"words": words, "calibration": calibration})
    log_p = [row["log_p"] for row in sure_rows(plain, questions, right=0.3)]
    rows = [Grader(job).chosen(*pair) for pair in zip(questions, log_p, strict=True)]
    rows = {"trained-4bit": rows, "tfidf": said_rows(job, questions, right=0.5)}
    store_job(tmp_path, job, questions, rows, {"tfidf": "baseline"})
    return tmp_path


def test_what_the_language_model_answers_alone_stands_beside(with_words):
    context = make_context(with_words, ROLES)
    FAMILY.check(context.items)
    ours = by_metric(FAMILY.figures(context), "trained-4bit")
    assert ours["job_accuracy:stance"].value == 1.0
    assert 0.3 < ours["job_accuracy:stance:without_words"].value < 0.8
    assert "job_accuracy:stance:without_words" not in by_metric(FAMILY.figures(context), "tfidf")
    *_, last = _findings(with_words)
    alone = round(100 * ours["job_accuracy:stance:without_words"].value)
    assert last == (
        "A linear model over words, learnt from the same examples, also counts in each answer. "
        f"The language model alone gets {alone} in 100 right."
    )


def test_words_may_count_for_a_rival_that_learnt_alike_and_not_for_us(with_words, questions):
    job = read_job(with_words / "jobs" / "stance")
    ours = job.model_copy(update={"calibration": Calibration()})
    asked = list(read_jsonl(with_words / "jobs.jsonl"))
    log_p = dict.fromkeys(LABELS, -1.1)
    rows = {
        "trained-4bit": [Grader(ours).chosen(question, log_p) for question in asked],
        "gpt-4": [Grader(job).chosen(question, log_p) for question in asked],
    }
    store_job(with_words, ours, asked, rows)
    facts = UNKNOWN | {"calibration": job.calibration.model_dump(mode="json")}
    write_json(
        with_words / "job-gpt-4.json", {"fingerprint": "", "system": "model", "jobs": {"stance": facts}}
    )
    context = make_context(with_words, ROLES)
    FAMILY.check(context.items)
    assert by_metric(FAMILY.figures(context), "gpt-4")["job_accuracy:stance"].value == 1.0


def test_a_forged_word_model_is_found(with_words):
    path = with_words / "jobs" / "stance" / "words.json"
    stored = read_json(path)
    stored["terms"]["hawkish"][1] += 50
    write_json(path, stored)
    with pytest.raises(BundleError, match="scores is"):
        FAMILY.check(make_context(with_words, ROLES).items)


def _findings(folder):
    context = make_context(folder, ROLES)
    metrics = compute_metrics(context, precision="float32", notes=(), gaps=())
    duels = find_duels(metrics.comparisons, context.subjects, 0.95)
    return [finding.text for finding in FAMILY.findings(Results(metrics, "trained", duels, 0.95))]


def test_findings_say_how_many_are_right_and_against_whom(stored):
    right, against, shared = _findings(stored)
    assert right.startswith("Stance: 8")
    assert "in 100 right (" in right
    assert "better than Base (+" in against
    assert "6 of 60 test rows also stand in the examples" in shared


@pytest.mark.parametrize(("simpler", "word"), [("tfidf", "linear model"), ("encoder", "simpler method")])
def test_where_something_simpler_wins_the_first_sentence_says_so(
    stored, job, questions, simpler, word, monkeypatch
):
    monkeypatch.setitem(ROLES, simpler, Role.BASELINE)
    rows = {simpler: said_rows(job, questions, right=1.0)}
    store_job(stored, job, questions, rows, {simpler: "baseline"})
    first = _findings(stored)[0]
    assert first.startswith(
        f"Use the {word} for stance: {simpler.title()} is right in 100% of rows, this model"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: {"correct": not row["correct"]}, "correct is"),
        (lambda row: {"confidence": row["confidence"] + 0.01}, "confidence is"),
        (lambda row: {"given": False}, "given is False"),
        (lambda row: {"group": "other"}, "group is 'other'"),
        (lambda row: {"shared": True}, "shared is True"),
        (lambda row: {"answer": LABELS[(LABELS.index(row["answer"]) + 1) % 3]}, "answer is"),
        (lambda row: {"prediction": LABELS[(LABELS.index(row["prediction"]) + 1) % 3]}, "prediction is"),
        (lambda row: {"log_p": row["log_p"] | {"neutral": -0.01}}, "scores is"),
        (lambda row: {"scores": row["scores"] | {"other": 0.0}}, "scores is"),
        (lambda row: {"id": "r004"}, "answers a question twice"),
        (lambda row: {"id": "elsewhere"}, "answers elsewhere, which jobs.jsonl does not ask"),
    ],
)
def test_forged_answers_are_found(stored, change, said):
    FAMILY.check(make_context(stored, ROLES).items)
    _change(stored, "trained-4bit", change)
    with pytest.raises(BundleError, match=said):
        FAMILY.check(make_context(stored, ROLES).items)


def test_our_answers_are_complete_and_words_are_read_again(stored, job, questions):
    write_jsonl(stored / "job-trained.jsonl", _rows(stored, "trained")[1:])
    with pytest.raises(BundleError, match="does not answer r000"):
        FAMILY.check(make_context(stored, ROLES).items)
    store_job(stored, job, questions, {"trained": sure_rows(job, questions, right=0.9)})
    _change(stored, "gpt-4", lambda row: {"raw": "HAWKISH, I think", "prediction": "dovish"})
    with pytest.raises(BundleError, match="prediction is 'dovish', its row gives 'hawkish'"):
        FAMILY.check(make_context(stored, ROLES).items)


def test_texts_are_counted_by_the_checks_that_they_keep():
    checked = {"kind": "write", "labels": (), "checks": ("numbers_in(output, input)", "len(output) > 3")}
    job, questions = make_job("note", **checked), make_questions(4, name="note", groups=4)
    grader = Grader(job)

    def figures(*texts: str, tries: tuple[int, ...] = (0, 0, 0, 0)) -> dict[str, float]:
        rows = [grader.said(*pair, tries=each) for *pair, each in zip(questions, texts, tries, strict=True)]
        table = JobTable(job, questions, {"trained-4bit": rows})
        return {name: statistic(np.ones(4)) for name, statistic, _ in metrics_of(table, rows)}

    ours = figures("Sentence 0 rose.", "It rose.", "", "2 Sentence 3.", tries=(1, 3, 3, 1))
    assert ours["job_checks_kept"] == 0.5
    assert ours["job_checks_kept_at_once"] == 0.25
    assert ours["job_invented_numbers"] == pytest.approx(1 / 3)  # of those that are given
    rival = figures("It rose 7%.", "By 8.", "Sentence 2", "Up.")
    assert rival["job_invented_numbers"] == 0.5
    assert "job_checks_kept_at_once" not in rival


def test_without_jobs_there_is_nothing(tmp_path):
    found = FAMILY.figures(make_context(tmp_path, ("trained",)))
    assert (found.metrics, found.comparisons, found.jobs) == ([], [], [])
    FAMILY.check(make_context(tmp_path, ("trained",)).items)
