"""Learn one job: model, calibration, learning curve, and rows that look mislabelled, in a directory."""

from __future__ import annotations

import math
import shutil
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinsmith.base.files import JsonObject, read_jsonl, read_whole_rows, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.gguf.families import refuse_unwritable
from tinsmith.jobs.answer_set import AnswerSet
from tinsmith.jobs.ask import NONE
from tinsmith.jobs.asks import answer_room, asks_of, how_right, prompt_of
from tinsmith.jobs.calibration import as_answered, calibrated_shares, fit_answers, fit_labels
from tinsmith.jobs.none_scale import NoneScale, fit_none_scale
from tinsmith.jobs.none_thresholds import NoneChances, fit_none
from tinsmith.jobs.prepare import prepare
from tinsmith.jobs.prompt import answer_ids
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.jobs.word_model import WordModel, fit_words
from tinsmith.model.attention import use_stock_attention
from tinsmith.model.load import check_context, load_model
from tinsmith.recipe import TrainConfig
from tinsmith.tokens.tokenizer import load_base_tokenizer
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.checkpoint import save_trained
from tinsmith.train.job_run import JobTrainer
from tinsmith.train.job_runs import FIRST
from tinsmith.train.job_scores import (
    AnswerScores,
    answer_scores,
    greedy_answer,
    label_scores,
    prior_scores,
)
from tinsmith.train.job_search import Learnt, learn_job
from tinsmith.train.job_watch import READINGS
from tinsmith.train.memory import freed_memory_kept

WORK = "work"  # in a job's directory while it is learnt
# Validation asks whose answers are generated to calibrate the confidence in them; a generated token takes as long as
# several that are read.
_GENERATED, _COST_OF_A_TOKEN = 200, 8
_HONEST_AFTER = 0.5  # passes; what the model held before knew too little of the job

Rows = Sequence[JsonObject]


def finish_job(
    job: Job,
    start: Path,
    rows: tuple[Rows, Rows],
    out: Path,
    *,
    config: TrainConfig,
    seed: int,
    progress: Progress,
) -> None:
    """Learn a job from `rows`, to learn from and to validate on, starting from the model at `start`.

    `out` has model/, job.json (written last), log.jsonl, search.jsonl, curve.jsonl, suspects.jsonl and
    validation.jsonl; a killed call resumes. Of `config`, device, precision, checkpoint_seconds and rollbacks count.
    Raises AssetError for a model that cannot be opened or exported, RecipeError and TrainingError.
    """
    began, work, (tokenizer, _) = time.monotonic(), out / WORK, load_base_tokenizer(start)
    job, unlearnt = prepare(job, rows[0], tokenizer, seed=seed)
    for what, count in unlearnt.items():
        if count:
            progress.say(f"  {job.config.name}: {count:g} {what.replace('_', ' ')}")
    with freed_memory_kept():
        model = load_model(start)
        refuse_unwritable(model.config, start)
        trainer = JobTrainer(
            job, model, tokenizer, rows, config=config, seed=seed, work=work, progress=progress
        )
        check_context(model, int(trainer.learn.tokens.lengths.max()), where=f"jobs.{job.config.name}.context")
        words = _words(job, rows, seed)
        learnt = learn_job(trainer, work, began)
        drawn = [rows[1][row] for row in trainer.drawn]
        told = words[1][trainer.drawn] if words else None
        calibrated, validated, notes = _calibrate(trainer, learnt, drawn, told)
        for note in notes:
            progress.say(f"  {job.config.name}: {note}")
        write_jsonl(out / "validation.jsonl", validated)
        write_jsonl(out / "search.jsonl", _search_rows(learnt, trainer))
        write_jsonl(out / "curve.jsonl", _curve(learnt, len(trainer.visited)))
        write_jsonl(out / "suspects.jsonl", _suspects(trainer, work / FIRST / READINGS, rows[0]))
        shutil.copyfile(work / FIRST / "log.jsonl", out / "log.jsonl")
        save_trained(learnt.model, tokenizer, out / "model")
    job.model_copy(update={"calibration": calibrated, "words": words[0] if words else None}).write(out)


def _words(job: Job, rows: tuple[Rows, Rows], seed: int) -> tuple[WordModel, NDArray[np.float64]] | None:
    """Fit the word model of a job with one label; it comes with ln p of the validation rows' labels (N, L)."""
    if job.config.kind != "classify" or job.config.several:
        return None
    learn, validation = (([row["input"] for row in part], [row["answer"] for row in part]) for part in rows)
    return fit_words(job.labels, learn, validation, seed)


def alike(job: Job) -> Job:
    """Return a job with its own budget, and without settings that were fixed for our model.

    With it `finish_job` teaches another model alike: the same examples, the same budget, and a search of its own in it,
    since the settings that suit our model may not suit another.
    """
    free = {"trainable": "", "learning_rate": 0.0}
    return Job(config=job.config.model_copy(update=free), labels=job.labels)


def job_statistics(out: Path) -> dict[str, float]:
    """Return numbers about a finished job: of the run itself, of its trials, and of rows that look mislabelled."""
    *trials, run = read_jsonl(out / "search.jsonl")
    suspects = sum(1 for _ in read_jsonl(out / "suspects.jsonl"))
    names = ("examples", "passes", "seconds", "right", "loss", "cut_answers")
    return {name: float(run[name]) for name in names if name in run} | {
        "trials": float(len(trials)),
        "suspects": float(suspects),
    }


def _calibrate(
    trainer: JobTrainer, learnt: Learnt, rows: Rows, told: NDArray[np.float64] | None
) -> tuple[Calibration, list[JsonObject], list[str]]:
    """Fit the calibration; return it with a row for each validation ask, and notes.

    `told` (N, L) is what the word model tells of the validation `rows`.
    """
    job, asked, share = trainer.job, trainer.validation, trainer.job.config.ask_a_person
    model = learnt.model
    isolate_sequences(model)
    if trainer.choices is None:
        return _calibrate_answers(trainer, learnt, rows)
    (empty,) = asks_of(job, {"input": "", "record": _Empty()}, trainer.tokenizer)
    prior = prior_scores(model, prompt_of(job, trainer.tokenizer, empty).ids, trainer.choices)
    if asked is None:
        calibrated, notes = fit_labels(job.labels, np.empty((0, len(prior))), [], prior)
        return calibrated, [], notes
    with trainer.reading(learnt.settings) as lower:
        scores = label_scores(model, asked, trainer.choices, lower)
    answers = [ask.answer or "" for ask in asked.asks]
    truth = [job.labels.index(answer) for answer in answers]
    words = None if told is None else told[list(asked.rows)]
    calibrated, notes = fit_labels(job.labels, scores, truth, prior, words=words, share_right=share)
    labelled: list[JsonObject] = []
    for place, (row, answer) in enumerate(zip(asked.rows, answers, strict=True)):
        own, beside = scores[place], np.zeros(len(job.labels)) if words is None else words[place]
        sure = calibrated_shares(calibrated, *(dict(zip(job.labels, one.tolist())) for one in (own, beside)))
        chosen = max(sure, key=sure.__getitem__)
        labelled.append(
            {"id": rows[row]["id"], "answer": answer, "prediction": chosen, "confidence": sure[chosen]}
            | {"correct": chosen == answer, "scores": sure}
        )
    return calibrated, labelled, notes


def _calibrate_answers(
    trainer: JobTrainer, learnt: Learnt, rows: Rows
) -> tuple[Calibration, list[JsonObject], list[str]]:
    """Fit the calibration of generated answers: of the first validation asks, as they are generated token by token."""
    job, asked, model = trainer.job, trainer.validation, learnt.model
    if asked is None:
        calibrated, _, notes = fit_answers([], [])
        return calibrated, [], notes
    with trainer.reading(learnt.settings) as lower:
        scored = answer_scores(model, asked, trainer.none, lower)
    totals, right, none = scored.log_probabilities, scored.exact.astype(float), scored.none.tolist()
    if job.config.kind == "write":
        # Two good texts need not be alike, so none is right or wrong.
        calibrated, notes, said, sure = Calibration(), [], list[float](), np.empty(0)
        if job.config.ask_a_person:
            notes = ["ask_a_person is not applied to texts: the checks of the job withhold them"]
    else:
        absent = [ask.answer == NONE for ask in asked.asks]
        scale = fit_none_scale(asked.asks, none) if job.look else NoneScale()
        none = [scale.chance(told, ask) for told, ask in zip(none, asked.asks, strict=True)]
        fitted = Calibration(none_at=fit_none(_none_chances(job, asked, rows, none)))
        nothing = [fitted.says_none(chance, ask.field) for chance, ask in zip(none, asked.asks, strict=True)]
        written, grades = _generate(trainer, learnt, asked.first(_GENERATED), scored)
        right[: len(grades)] = grades
        said, right = as_answered(job.config, written, right, none, absent, nothing)
        values = None if job.config.kind == "classify" else ~np.array(nothing[: len(said)])
        calibrated, sure, notes = fit_answers(
            said, right[: len(said)], values=values, share_right=job.config.ask_a_person
        )
        calibrated = calibrated.model_copy(update={"none_at": fitted.none_at, "none_scale": scale})
    found: list[JsonObject] = [
        {"id": rows[row]["id"], "field": ask.field, "answer": ask.answer, "log_probability": float(total)}
        | {"none": chance, "correct": float(grade)}
        for row, ask, total, chance, grade in zip(asked.rows, asked.asks, totals, none, right, strict=True)
    ]
    # What `run --ask-a-person` chooses a threshold by; log_probability is that of the right answer.
    found[: len(said)] = [
        row | {"said": log_p, "confidence": float(chance)}
        for row, log_p, chance in zip(found, said, sure, strict=False)
    ]
    return calibrated, found, notes


def _none_chances(
    job: Job, asked: AnswerSet, rows: Rows, chances: Sequence[float] | NDArray[np.float64]
) -> dict[str, NoneChances]:
    """Return by field what probability of "none" each ask of the validation part was given; "" is kind answer."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row, ask, chance in zip(asked.rows, asked.asks, chances, strict=True):
        held = ask.field and rows[row]["answer"].get(ask.field)
        kind = "present" if ask.answer != NONE else "elsewhere" if held else "absent"
        found[ask.field][kind].append(float(chance))
    looks = job.look.fields if job.look else {}
    several = {field.name: field.several for field in fields_of(job.config)} if looks else {}
    return {
        name: NoneChances(
            **chances_of, asked=looks[name].asked if looks else 1, several=several.get(name, False)
        )
        for name, chances_of in found.items()
    }


def _generate(
    trainer: JobTrainer, learnt: Learnt, asked: AnswerSet, scored: AnswerScores
) -> tuple[list[float], list[float]]:
    """Return ln p of what the model answers to the first asks, and how right that is, 0 to 1.

    It answers one, and as many more as the budget has tokens for.
    """
    model, most = learnt.model, trainer.tokens_of_generation(learnt.settings)
    use_stock_attention(model)
    job, tokenizer = trainer.job, trainer.tokenizer
    room, stop, spent = answer_room(job), answer_ids(tokenizer, "x")[-1], 0
    said, right = list[float](), list[float]()
    for number in range(len(asked)):
        if scored.exact[number]:
            # A right answer whose tokens are all the first choice is what the model would write.
            said.append(float(scored.log_probabilities[number]))
            right.append(1.0)
            continue
        prompt = asked.prompt(number)
        spent += len(prompt) + _COST_OF_A_TOKEN * room
        if said and spent > most:
            break
        ids, log_p = greedy_answer(model, prompt, room, stop)
        said.append(log_p)
        right.append(how_right(job, asked.asks[number], tokenizer.decode(ids)))
    return said, right


class _Empty(dict[str, str]):
    """A record whose fields are all empty."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return ""


def _search_rows(learnt: Learnt, trainer: JobTrainer) -> list[JsonObject]:
    """Return the trials, and last the run itself."""
    outcome = learnt.outcome
    run: JsonObject = {
        "what": "run",
        **asdict(learnt.settings),
        "budgets": list(learnt.budgets),
        "passes": learnt.passes,
    }
    run |= {
        "examples": len(trainer.visited),
        "cut_answers": trainer.learn.cut_answers,
        "seconds": learnt.seconds,
    }
    if outcome is not None:
        run |= {"loss": outcome.loss, "right": outcome.right, "asks": len(outcome.correct)}
    return [*(trial.row() for trial in learnt.trials), run]


def _curve(learnt: Learnt, examples: int) -> list[JsonObject]:
    """Return what validation says after so many examples, with the settings that won, from few to all.

    The intervals are Wilson's, at 95%, over the asks of the validation part, as if they were independent.
    """
    points = [
        (trial.examples, trial.right, trial.asks)
        for trial in learnt.trials
        if trial.settings == learnt.settings and trial.right is not None
    ]
    if learnt.outcome is not None:
        points.append((examples, learnt.outcome.right, len(learnt.outcome.correct)))
    rows = []
    for size, right, asks in sorted(points):
        low, high = wilson(right, asks)
        rows.append({"examples": size, "right": right, "low": low, "high": high, "asks": asks})
    return rows


def wilson(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's interval of a share of `count` independent trials."""
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return (middle - spread) / (1 + z * z / count), (middle + spread) / (1 + z * z / count)


def _suspects(trainer: JobTrainer, readings: Path, rows: Rows) -> list[JsonObject]:
    """Return the learnt rows whose label the model on average found less likely than another, worst first.

    What counts is what it held of a row each time just before it learnt from it (after Pleiss et al. 2020,
    arXiv:2001.10528), not at the end, when it knows the labels by heart.
    """
    held: dict[int, dict[float, JsonObject]] = defaultdict(dict)
    for reading in read_whole_rows(readings):
        # A run that was killed reads some rows of a pass twice; the last time is in the weights.
        held[reading["number"]][math.ceil(reading["passes"] - 1e-9)] = reading
    found = []
    for number, passes in held.items():
        kept = [reading for reading in passes.values() if reading["passes"] > _HONEST_AFTER]
        others: dict[str, float] = defaultdict(float)
        label = trainer.learn.asks[number].answer
        for reading in kept:
            if reading["guess"] != label:
                others[reading["guess"]] += reading["guess_probability"] / len(kept)
        if not others:
            continue
        likely = max(others, key=others.__getitem__)
        own = sum(reading["probability"] for reading in kept) / len(kept)
        if others[likely] > own:
            row = rows[trainer.learn.rows[number]]
            found.append(
                {"id": row["id"], "source": row.get("source", ""), "row": row.get("row", 0), "label": label}
                | {"probability": own, "model": likely, "model_probability": others[likely]}
                | {"input": row["input"]}
            )
    return sorted(found, key=lambda row: row["probability"] - row["model_probability"])
