"""Learn a job within its budget: try settings on parts of the examples, then run on all of them.

The search is successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943) over growing parts of the examples, so
its trials are also the learning curve of the settings that win.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from transformers import PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import JsonObject, read_json, read_whole_rows, write_json
from tinsmith.recipe import Budget, JobConfig
from tinsmith.train.job_run import JobSettings, JobTrainer
from tinsmith.train.job_watch import Outcome

RATES = {"upper": 1e-4, "all": 5e-5, "lora": 5e-4}
FACTORS = (1.0, 2.0, 0.5)  # of the rate, in the order in which they are tried
SIZES = (50, 100, 200, 500)  # examples of a trial, and of the learning curve
LEAST_PASSES, MOST_PASSES = 5, 10
SHARE_OF_TRIALS = 0.2  # of the time, even where it does not suffice for all passes
_PASSES_WORTH_TRIALS = 3  # with fewer, all of the time goes to the run itself
_SECONDS_AFTER = 20.0  # to write the model
_OVERHEAD = 1.15  # of a pass, beside its gradients


def passes_for(examples: int) -> float:
    """Return how many passes over so many examples are worth their time: more over few."""
    return min(MOST_PASSES, max(LEAST_PASSES, math.ceil(1200 / examples)))


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
        """Return what trials are ordered by, the least first: the loss in nats and the share of wrong answers."""
        return math.inf if self.loss is None or self.right is None else self.loss + 1 - self.right

    def row(self) -> JsonObject:
        """Return it as a row of search.jsonl."""
        facts = asdict(self)
        return {"what": "trial", **facts.pop("settings"), **facts}


@dataclass(frozen=True)
class Learnt:
    """A finished job: its model, what was chosen and tried, and what validation says."""

    model: PreTrainedModel
    settings: JobSettings
    budget: str
    passes: float
    outcome: Outcome | None
    trials: tuple[Trial, ...]
    seconds: float  # of the search and the run together, and of no attempt that was killed


def learn_job(trainer: JobTrainer, out: Path) -> Learnt:
    """Search and train within the job's budget; `out` has the trials and the run, and a killed call resumes there.

    A budget in steps or passes, or a number of passes in the recipe, is kept to the letter; without seconds to spare
    there is no search. Raises TrainingError where the loss of the run diverges.
    """
    config, start = trainer.job.config, time.monotonic()
    search = _Search(trainer, out)
    decided = out / "decision.json"
    if not decided.exists():
        settings, budget = search.decide(config)
        write_json(decided, {**asdict(settings), "budget": budget, "seconds": search.spent(start)})
    facts = read_json(decided)
    settings = JobSettings(facts["trainable"], facts["learning_rate"])
    trainer.progress.say(
        f"  {trainer.job.config.name}: {_named(settings)}, for {facts['budget']} on {len(trainer.visited)} examples"
    )
    begun = time.monotonic()
    model, outcome, passes = trainer.run(settings, facts["budget"], out / "run", kept=True)
    seconds = facts["seconds"] + time.monotonic() - begun
    return Learnt(model, settings, facts["budget"], passes, outcome, tuple(search.trials), seconds)


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

    def decide(self, config: JobConfig) -> tuple[JobSettings, str]:
        """Return the settings of the run and its budget, after the trials that the budget allows."""
        start = time.monotonic()
        candidates = candidates_of(config)
        budget, examples = Budget.parse(config.budget), len(self._trainer.visited)
        if budget.kind != "seconds":
            return candidates[0], f"{config.passes:g} epochs" if config.passes else config.budget
        passes = config.passes or passes_for(examples)
        validation = self._trainer.validation.tokens.tokens if self._trainer.validation else 0
        share = validation / 3 / self._trainer.learn.tokens.tokens  # reading alone is a third of learning
        a_pass = self._trainer.seconds_of_pass(candidates[0]) * _OVERHEAD
        left = budget.amount - self.spent(start) - _SECONDS_AFTER - 2 * share * a_pass

        def cost(size: int) -> float:
            return a_pass * (passes_for(size) * size / examples + share) + 1.0

        spare = left - passes * a_pass * (1 + share)
        if left >= _PASSES_WORTH_TRIALS * a_pass:
            spare = max(spare, SHARE_OF_TRIALS * left)
        wanted = config.curve or len(candidates) > 1
        plan = plan_trials(spare if wanted and validation else 0.0, examples, len(candidates), cost)
        chosen = self.halve(candidates, plan)
        a_pass = self._trainer.seconds_of_pass(chosen) * _OVERHEAD
        left = budget.amount - self.spent(start) - _SECONDS_AFTER - 2 * share * a_pass
        if left >= passes * a_pass * (1 + share) or config.passes:
            return chosen, f"{passes:g} epochs"
        return chosen, f"{max(1.0, left / (1 + share)):.1f}s"

    def halve(self, candidates: Sequence[JobSettings], plan: Sequence[tuple[int, int]]) -> JobSettings:
        """Run trials as planned, (examples, number of candidates), and return the candidate that is left.

        A candidate that diverges loses. The winner of the largest part is ahead of what was tried on smaller ones only.
        """
        ranked = list(candidates)
        for size, count in plan:
            tried = [(self._run(size, settings), settings) for settings in ranked[:count]]
            order = sorted(tried, key=lambda pair: pair[0].rank)
            ranked = [settings for _, settings in order]
        return ranked[0]

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


def candidates_of(config: JobConfig) -> list[JobSettings]:
    """Return the settings that the recipe leaves open, the likeliest to be good first."""
    kinds = [config.trainable] if config.trainable else ["upper", "all"]
    if config.learning_rate:
        return [JobSettings(kind, config.learning_rate) for kind in kinds]
    return [JobSettings(kind, RATES[kind] * factor) for factor in FACTORS for kind in kinds]


def plan_trials(
    seconds: float, examples: int, candidates: int, cost: Callable[[int], float]
) -> list[tuple[int, int]]:
    """Plan trials for so many seconds: (examples, number of candidates), each time half as many on a larger part.

    One candidate alone gives a learning curve, on as many sizes as there is time for; further candidates join where
    all sizes are afforded. `cost` says what a trial of a size takes.
    """
    sizes = [size for size in SIZES if size <= 0.7 * examples]
    best: list[tuple[int, int]] = []
    for number in range(1, len(sizes) + 1):
        plan = [(size, 1) for size in sizes[:number]]
        if _total(plan, cost) <= seconds:
            best = plan
    if len(best) < len(sizes) or not sizes:
        return best
    for count in range(2, candidates + 1):
        plan = [
            (size, max(1, math.ceil(count / 2**number)) if size > SIZES[0] else count)
            for number, size in enumerate(sizes)
        ]
        if _total(plan, cost) <= seconds:
            best = plan
    return best


def _total(plan: Sequence[tuple[int, int]], cost: Callable[[int], float]) -> float:
    return sum(count * cost(size) for size, count in plan)


def _named(settings: JobSettings) -> str:
    weights = {"upper": "the upper half of the blocks", "all": "all weights", "lora": "adapters"}
    return f"{weights[settings.trainable]} at a rate of {settings.learning_rate:.1e}"
