"""Learn a job within its budget: try settings on parts of the examples, then run on all of them.

Trials on parts of the examples are the learning curve of the settings that win.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from transformers import PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import JsonObject, read_json, read_whole_rows, write_json
from tinsmith.recipe import Budget, JobConfig
from tinsmith.train.job_run import JobSettings, JobTrainer, examples_a_step
from tinsmith.train.job_runs import learn_in_orders
from tinsmith.train.job_watch import Outcome, Score
from tinsmith.train.memory import available_bytes

_WEIGHTS = {"upper": "the upper third of the blocks", "all": "all weights", "lora": "adapters"}
# Peaks for a model of `RATE_PARAMETERS`, from stances of the learning side alone (docs/LOG.md); the rate falls with the
# square root of the number of parameters.
# The kinds are tried in this order.
RATES = {"upper": 3e-4, "all": 2e-4, "lora": 5e-4}
RATE_PARAMETERS, HIGHEST_FACTOR = 135e6, 2.0
FACTORS = (1.0, 2.0, 0.5)  # of the rate, in the order in which they are tried
SIZES = (50, 100, 200, 500)  # examples of a trial, and of the learning curve
LEAST_COMPARED = 200  # examples of a trial that compares settings; on fewer, chance decides
LEAST_PASSES, MOST_PASSES = 2.0, 10.0
MOST_RUNS = 4  # whose weights are averaged
SHARE_OF_CURVE, SHARE_OF_TRIALS = 0.15, 0.25  # of the time, at most
_PASSES_WORTH_TRIALS = 3  # with fewer, all of the time goes to the run itself
_ENOUGH = 2.0  # times the passes that examples are worth: no run makes more
_SECONDS_AFTER, _SHARE_AFTER = 20.0, 0.05  # to write the model: so many seconds, or a share of a short budget
_SPARE = 0.04  # of a budget, since the pace of a machine changes
_HARDLY = 0.25  # of a budget: a run with less is told
_BYTES_OF_RUNS = 16.0  # a parameter, beside a run itself
_STEP = 8.0  # examples that take as long as a step beside its examples
_OVERHEAD = 1.1  # of a pass, beside its steps


def passes_for(examples: int) -> float:
    """Return how many passes over so many examples are worth their time: more over few."""
    return min(MOST_PASSES, max(LEAST_PASSES, 6500 / examples))


@dataclass(frozen=True)
class Trial:
    """A run on a part of the examples, and what it gave; without a loss it diverged or nothing was validated."""

    examples: int
    settings: JobSettings
    passes: float
    seconds: float
    loss: float | None
    right: float | None
    asks: int

    @property
    def rank(self) -> float:
        """Return what trials are ordered by, the least first."""
        if self.loss is None or self.right is None:
            return math.inf
        return Score(self.loss, self.right, self.asks).rank

    def row(self) -> JsonObject:
        """Return it as a row of search.jsonl."""
        facts = asdict(self)
        return {"what": "trial", **facts.pop("settings"), **facts}


@dataclass(frozen=True)
class Learnt:
    """A finished job: its model, what was chosen and tried, and what validation says."""

    model: PreTrainedModel
    settings: JobSettings
    budgets: tuple[str, ...]  # of the runs whose weights were averaged
    passes: float  # of all runs together
    outcome: Outcome | None
    trials: tuple[Trial, ...]
    seconds: float  # of the search and the runs together, and of no attempt that was killed


def learn_job(trainer: JobTrainer, out: Path, began: float) -> Learnt:
    """Search and train within the job's budget; `out` has the trials and the runs, and a killed call resumes there.

    Several runs, each in an order of its own, end as the mean of their weights. A budget in steps or passes, or a
    number of passes in the recipe, is kept to the letter: one run, and without seconds to spare no search. The budget
    counts from `began`, a reading of the monotonic clock. Raises TrainingError where the loss of the run diverges.
    """
    config = trainer.job.config
    search = _Search(trainer, out)
    decided = out / "decision.json"
    if not decided.exists():
        settings, budgets = search.decide(config, began)
        write_json(decided, {**asdict(settings), "budgets": budgets, "seconds": search.spent(began)})
    facts = read_json(decided)
    settings, budgets = JobSettings(facts["trainable"], facts["learning_rate"]), facts["budgets"]
    trainer.progress.say(
        f"  {trainer.job.config.name}: {_named(settings)}, for {' and '.join(budgets)} on {len(trainer.visited)} "
        "examples"
    )
    begun = time.monotonic()
    model, outcome, passes = learn_in_orders(trainer, settings, budgets, out)
    seconds = facts["seconds"] + time.monotonic() - begun
    return Learnt(model, settings, tuple(budgets), passes, outcome, tuple(search.trials), seconds)


class _Search:
    """Trials, each done once however often the search is killed."""

    def __init__(self, trainer: JobTrainer, out: Path) -> None:
        self._trainer, self._out = trainer, out
        self._path = out / "trials.jsonl"
        out.mkdir(parents=True, exist_ok=True)
        self.trials = [
            Trial(settings=JobSettings(row.pop("trainable"), row.pop("learning_rate")), **row)
            for row in read_whole_rows(self._path)
        ]
        self._before = sum(trial.seconds for trial in self.trials)

    def spent(self, start: float) -> float:
        """Return the seconds since `start`, and those of trials before a kill."""
        return self._before + time.monotonic() - start

    def decide(self, config: JobConfig, start: float) -> tuple[JobSettings, list[str]]:
        """Return the settings of the runs and the budget of each, after the trials that the budget allows."""
        trainer = self._trainer
        budget, examples = Budget.parse(config.budget), len(trainer.visited)
        if budget.kind != "seconds":
            chosen = candidates_of(config, trainer.parameters)[0]
            return chosen, [f"{config.passes:g} epochs" if config.passes else config.budget]
        candidates = self._within_memory(config)
        plan = TrialPlan()
        # A killed search plans as it did before: what its trials took is not gone.
        usable = (1 - _SPARE) * budget.amount - min(_SECONDS_AFTER, _SHARE_AFTER * budget.amount)
        left = usable - self.spent(start) + self._before
        enough = left >= _PASSES_WORTH_TRIALS * self._pass_seconds(candidates[0])
        if trainer.validation and enough and not config.passes:
            cost = partial(self._cost, candidates[0])
            plan = plan_trials(left, examples, len(candidates), cost, curve=config.curve)
        chosen = self.try_out(candidates, plan)
        left = usable - self.spent(start)
        if config.passes:
            return chosen, [f"{config.passes:g} epochs"]
        # Each run beside others needs their mean and its own.
        most = MOST_RUNS if available_bytes() > _BYTES_OF_RUNS * trainer.parameters else 1
        if most == 1:
            trainer.progress.say("  one run alone: memory does not hold the mean of several beside it")
        look = trainer.seconds_of_look(chosen)
        left -= trainer.seconds_of_calibration(chosen)
        if left < _HARDLY * budget.amount:
            trainer.progress.say(
                f"  warning: {max(1.0, left):.0f} of the {budget.amount:.0f} seconds of jobs.{config.name}.budget are "
                "left to learn; loading, measuring and calibration take the others: give it more"
            )
        return chosen, plan_runs(left, self._pass_seconds(chosen), look, examples, most=most)

    def _pass_seconds(self, settings: JobSettings) -> float:
        return self._trainer.seconds_of_pass(settings) * _OVERHEAD

    def _within_memory(self, config: JobConfig) -> list[JobSettings]:
        """Return the candidates from the first kind of training on that memory holds."""
        candidates = candidates_of(config, self._trainer.parameters)
        while True:
            try:
                self._pass_seconds(candidates[0])
            except TrainingError as error:
                others = [one for one in candidates if one.trainable != candidates[0].trainable]
                if not others:
                    raise
                self._trainer.progress.say(f"  not {_WEIGHTS[candidates[0].trainable]}: {error.what}")
                candidates = others
            else:
                return candidates

    def _cost(self, settings: JobSettings, size: int) -> float:
        """Return the seconds of a trial on so many examples, whose steps are small and so take longer an example."""
        rows = passes_for(size) * size / len(self._trainer.visited)
        steps = examples_a_step(size, passes_for(size)), examples_a_step(len(self._trainer.visited))
        small, usual = (1 + _STEP / step for step in steps)
        learning = rows * self._pass_seconds(settings) * small / usual
        return learning + self._trainer.seconds_of_look(settings) + 1.0

    def try_out(self, candidates: Sequence[JobSettings], plan: TrialPlan) -> JobSettings:
        """Run trials as planned, and return the best of the candidates; without a comparison the first.

        A candidate that diverges loses. The winner has a point on each size of the curve.
        """
        chosen = candidates[0]
        if plan.compared:
            tried = [(self._run(plan.size, settings), settings) for settings in candidates[: plan.compared]]
            chosen = min(tried, key=lambda pair: pair[0].rank)[1]
        for size in plan.curve:
            self._run(size, chosen)
        return chosen

    def _run(self, size: int, settings: JobSettings) -> Trial:
        done = [trial for trial in self.trials if (trial.examples, trial.settings) == (size, settings)]
        if done:
            return done[0]
        start, passes = time.monotonic(), passes_for(size)
        name = f"trial-{size}-{settings.trainable}-{settings.learning_rate:.1e}"
        outcome: Outcome | None = None
        try:
            _, outcome, _ = self._trainer.run(settings, f"{passes:g} epochs", self._out / name, examples=size)
        except TrainingError as error:
            self._trainer.progress.say(f"  trial with {_named(settings)}: {error.what}")
        trial = Trial(
            size,
            settings,
            passes,
            time.monotonic() - start,
            outcome.loss if outcome else None,
            outcome.right if outcome else None,
            len(outcome.correct) if outcome else 0,
        )
        self._say(trial)
        row = trial.row()
        row.pop("what")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.trials.append(trial)
        return trial

    def _say(self, trial: Trial) -> None:
        if trial.right is not None:
            self._trainer.progress.say(
                f"  {trial.examples} examples, {_named(trial.settings)}: {100 * trial.right:.1f} in 100 right, "
                f"loss {trial.loss:.3f}, {trial.seconds:.0f} s"
            )


def candidates_of(config: JobConfig, parameters: int) -> list[JobSettings]:
    """Return the settings that the recipe leaves open for a model of so many parameters, the likeliest best first.

    The upper blocks learn as well as all weights from as many passes, and take a third of the time for them.
    """
    kinds = [config.trainable] if config.trainable else list(RATES)
    if config.learning_rate:
        return [JobSettings(kind, config.learning_rate) for kind in kinds]
    scale = min(HIGHEST_FACTOR, math.sqrt(RATE_PARAMETERS / parameters))
    first = [JobSettings(kinds[0], RATES[kinds[0]] * scale * factor) for factor in FACTORS]
    return first + [JobSettings(kind, RATES[kind] * scale) for kind in kinds[1:]]


@dataclass(frozen=True)
class TrialPlan:
    """Sizes of the learning curve, and how many candidates are compared on how many examples."""

    curve: tuple[int, ...] = ()
    size: int = 0
    compared: int = 0


def plan_trials(
    seconds: float, examples: int, candidates: int, cost: Callable[[int], float], *, curve: bool
) -> TrialPlan:
    """Plan trials for a part of so many seconds; `cost` says what a trial of a size takes.

    As many sizes of the curve as `SHARE_OF_CURVE` affords, from the smallest. Candidates are compared on the largest
    size on which three can be, or all if there are fewer, and on `LEAST_COMPARED` examples at least.
    """
    sizes = [size for size in SIZES if size <= 0.7 * examples]
    points: list[int] = []
    for size in sizes if curve else ():
        if sum(map(cost, [*points, size])) > SHARE_OF_CURVE * seconds:
            break
        points.append(size)
    left = SHARE_OF_TRIALS * seconds - sum(map(cost, points))
    for size in reversed(sizes):
        affordable = min(candidates, int(left / cost(size)))
        if size >= LEAST_COMPARED and affordable >= min(candidates, len(FACTORS)) > 1:
            return TrialPlan(tuple(points), size, affordable)
    return TrialPlan(tuple(points))


def plan_runs(
    seconds: float, a_pass: float, a_look: float, examples: int, *, most: int = MOST_RUNS
) -> list[str]:
    """Return the budget of each run: as many runs as can make enough passes, `most` of them, which share the time.

    Each run is looked at after each pass, at its end and as the mean of its weights. Where there is more time than
    they need, they make the passes that so many examples are worth, and the rest is saved.
    """
    passes = passes_for(examples)
    runs = max(1, min(most, int(seconds / (passes * (a_pass + a_look) + 2 * a_look))))
    each = (seconds / runs - 2 * a_look) / (1 + a_look / a_pass)
    if runs == most and each > _ENOUGH * passes * a_pass:
        return [f"{_ENOUGH * passes:g} epochs"] * runs
    return [f"{max(1.0, each):.1f}s"] * runs


def _named(settings: JobSettings) -> str:
    return f"{_WEIGHTS[settings.trainable]} at a rate of {settings.learning_rate:.1e}"
