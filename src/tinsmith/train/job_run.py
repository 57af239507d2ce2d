"""One run on the examples of a job: train with given settings, and keep the weights that validation likes best."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.base.errors import RecipeError
from tinsmith.base.files import JsonObject, read_json, write_json
from tinsmith.base.progress import Progress
from tinsmith.jobs.answer_set import AnswerSet, write_answers
from tinsmith.jobs.ask import NONE
from tinsmith.jobs.calibration import calibrated_loss
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.prompt import answer_ids
from tinsmith.jobs.spec import Job
from tinsmith.model import lora
from tinsmith.model.attention import use_stock_attention
from tinsmith.model.load import choose_device, parameter_count
from tinsmith.recipe import UPPER_SHARE, Budget, LoraConfig, TrainConfig
from tinsmith.tokens.batches import Batches
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.budget import TrainProgress
from tinsmith.train.distributed import Ranks
from tinsmith.train.dry_run import fit_into_memory
from tinsmith.train.engine import Engine
from tinsmith.train.job_scores import answer_scores, path_scores
from tinsmith.train.job_watch import Outcome, RunWatch
from tinsmith.train.loop import fit
from tinsmith.train.lower_blocks import LowerStates, freeze_lower
from tinsmith.train.mixture import Mixture, MixtureComponent
from tinsmith.train.objectives.answer import Answer, Choices
from tinsmith.train.runtime import choose_runtime

_NAME = "answer"  # of the only component
EXAMPLES_A_STEP, _LEAST_STEPS = 16, 300  # a run with time for fewer steps makes them of fewer examples
_TOKENS_AT_ONCE, _TOKENS_MEASURED, _TOKENS_READ = 1024, 512, 2048
_MERGE_TOKENS = 128
TOKENS_VALIDATED = 60_000  # at most, of the validation part, at the end
# Tokens read at the end to calibrate written answers, at most; a generated one counts as several that are read. They
# take a tenth of the budget at most.
GENERATION_COST, SHARE_GENERATED = 30_000, 0.1
# To choose between weights, more of them where a pass is long: to read a tenth of its tokens takes a thirtieth of its
# time.
_TOKENS_EACH_PASS, _SHARE_EACH_PASS = 20_000, 0.1
_PASSES_WORTH_STATES = 1.5  # with fewer, states of frozen blocks would hardly be read twice
_SETTINGS = "settings.json"
_MEASURED = "measured.json"
_LONG_STEP = 5.0  # seconds; of shorter steps the second is measured


@dataclass(frozen=True)
class JobSettings:
    """What a run learns with: `trainable` is upper, all or lora."""

    trainable: str
    learning_rate: float


class JobTrainer:
    """What all runs on one job share: the starting weights, the token sets, and the states of frozen blocks."""

    def __init__(
        self,
        job: Job,
        start: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        rows: tuple[Sequence[JsonObject], Sequence[JsonObject]],
        *,
        config: TrainConfig,
        seed: int,
        work: Path,
        progress: Progress,
    ) -> None:
        """Write the token sets of `rows`, those to learn from and those to validate on, below `work`.

        Of the latter, rows are drawn with `TOKENS_VALIDATED` at most. Of `config` device and precision count.
        Raises RecipeError and TrainingError as `write_answers` does.
        """
        self.job, self.start, self.tokenizer, self.seed, self.work = job, start, tokenizer, seed, work
        self.progress, self._config, self._ranks = progress, config, Ranks(choose_device(config.device))
        by_tree = job.config.kind == "classify" and not job.config.several
        self.choices = Choices(LabelTree.of(tokenizer, job.labels)) if by_tree else None
        tree = self.choices.tree if self.choices else None
        self.none = answer_ids(tokenizer, NONE)[0]
        learnt, validated = rows

        def written(name: str, part: Sequence[JsonObject]) -> AnswerSet:
            return write_answers(work / name, job, part, tokenizer, tree, seed=seed)

        self.learn = written("learn", learnt)
        self.drawn, self.validation = list(range(len(validated))), None
        if validated:
            self.validation = self._written_if_it_fits(written, validated)
        if self.validation and len(some := self.validation.within(TOKENS_VALIDATED)) < len(self.validation):
            self.drawn = sorted(set(some.rows))
            self.validation = written("validation", [validated[row] for row in self.drawn])
        self.visited = list(dict.fromkeys(self.learn.rows))  # rows in the order of the first pass
        self._epoch_tokens = int(self.learn.groups().lengths.sum())  # what is shared counts once
        most = max(_TOKENS_EACH_PASS, round(_SHARE_EACH_PASS * self._epoch_tokens))
        self._looked_at = self.validation.within(most) if self.validation else None
        self._lower: dict[str, LowerStates] = {}

    def _written_if_it_fits(
        self, written: Callable[[str, Sequence[JsonObject]], AnswerSet], rows: Sequence[JsonObject]
    ) -> AnswerSet | None:
        try:
            return written("validation", rows)
        except RecipeError as error:
            self.progress.say(f"  nothing to validate with: {error.what}")
            return None

    def run(
        self,
        settings: JobSettings,
        budget: str,
        out: Path,
        *,
        examples: int = 0,
        order: int = 0,
        kept: bool = False,
    ) -> tuple[PreTrainedModel, Outcome | None, float]:
        """Train for a budget, on all rows or the first `examples`, in one of several orders.

        Returns a plain model, what validation says of it, and the passes that were made.

        With `kept` the run resumes after a crash from `out`, is validated after each pass, and ends with
        the weights that validate best; `out` then has log.jsonl and readings.jsonl.
        Raises TrainingError where the loss diverges.
        """
        learn = self.learn if not examples else self.learn.of_rows(set(self.visited[:examples]))
        if order:
            learn = learn.chosen(np.random.default_rng((self.seed, order)).permutation(len(learn)).tolist())
        measured = self._measured(settings)
        passes = _passes(Budget.parse(budget), measured["seconds_per_token"], learn)
        config = self._section(settings, learn, budget, kept=kept, passes=passes)
        engine = self._engine(settings, config, learn)
        if not (out / "checkpoints" / _SETTINGS).exists():
            write_json(out / "checkpoints" / _SETTINGS, measured)
        watch = RunWatch(self, engine, engine.mixture.epoch_tokens, out) if kept else None
        log = fit(engine, out=out, progress=self.progress, watch=watch or _nothing)
        outcome = watch.best(log) if watch else self.validate(engine)
        passes = sum(row["tokens"] for row in log) / engine.mixture.epoch_tokens
        return self._finish(engine, settings), outcome, passes

    def seconds_of_pass(self, settings: JobSettings) -> float:
        """Measure how long a pass over all rows takes, frozen blocks and validation not included."""
        return float(self._measured(settings)["seconds_per_token"]) * self._epoch_tokens

    def seconds_of_look(self, settings: JobSettings) -> float:
        """Estimate how long the validation after a pass takes."""
        return self._seconds_of_reading(settings, self._looked_at)

    def seconds_of_calibration(self, settings: JobSettings) -> float:
        """Estimate how long calibration takes: to read the validation part, and other labels or generated answers."""
        reading = self._seconds_of_reading(settings, self.validation)
        if self.validation is None:
            return reading
        tokens = self.tokens_of_generation(settings)
        if self.choices:
            # Labels that part after their first token are read after each prompt again.
            again = len(self.choices.tree.branches) > 1
            tokens = int(self.validation.groups().lengths.sum()) * again
        return reading + self._pace_through_all_blocks(settings) * tokens

    def tokens_of_generation(self, settings: JobSettings) -> int:
        """Return how many tokens may be read to calibrate written answers: fewer in a short budget."""
        budget, pace = Budget.parse(self.job.config.budget), self._pace_through_all_blocks(settings)
        if budget.kind != "seconds" or not pace:
            return GENERATION_COST
        return min(GENERATION_COST, int(SHARE_GENERATED * budget.amount / pace))

    def _pace_through_all_blocks(self, settings: JobSettings) -> float:
        """Return the seconds of a token that is generated: it goes through the frozen blocks too."""
        blocks = 1 / UPPER_SHARE if settings.trainable == "upper" else 1.0
        return self._pace_of_reading(settings) * blocks

    def _seconds_of_reading(self, settings: JobSettings, answers: AnswerSet | None) -> float:
        """Estimate the seconds of a forward pass over answers."""
        tokens = int(answers.groups().lengths.sum()) if answers else 0
        return self._pace_of_reading(settings) * tokens

    def _pace_of_reading(self, settings: JobSettings) -> float:
        """Return the seconds of a token in validation; 0 without such a part."""
        self._measured(settings)
        return float(read_json(self._pace_directory(settings) / _MEASURED)["seconds_per_token_read"])

    @property
    def parameters(self) -> int:
        """Return the number of parameters of the starting model."""
        return parameter_count(self.start)

    def validate(self, engine: Engine) -> Outcome | None:
        """Return what the validation part says of a model in training; None without such a part."""
        with engine.autocast():
            return self._outcome(engine.model, self._looked_at, self._lower_of("validation", engine))

    def validate_model(self, model: PreTrainedModel, settings: JobSettings) -> Outcome | None:
        """Return what the validation part says of a finished model; None without such a part."""
        isolate_sequences(model)
        with self.reading(settings) as lower:
            outcome = self._outcome(model, self._looked_at, lower)
        use_stock_attention(model)
        return outcome

    @contextmanager
    def reading(self, settings: JobSettings) -> Iterator[LowerStates | None]:
        """Read the validation part as runs do: in their precision, and above the states of frozen blocks.

        Yields those states where a run of this process has computed them.
        """
        lower = self._lower.get("validation") if settings.trainable == "upper" else None
        bfloat16 = self._measured(settings)["precision"] == "bfloat16"
        with torch.autocast(self._ranks.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            yield lower if lower and lower.ready else None

    def _outcome(
        self, model: PreTrainedModel, asked: AnswerSet | None, lower: LowerStates | None
    ) -> Outcome | None:
        if asked is None:
            return None
        trained = model.training
        model.eval()
        with torch.no_grad():
            if lower:
                lower.fill(model, self.progress)
            if self.choices is None:
                scored = answer_scores(model, asked, self.none, lower)
                loss = -scored.log_probabilities.sum() / scored.tokens.sum()
                outcome = Outcome(float(loss), scored.exact)
            else:
                scores, chosen = path_scores(model, asked, self.choices, lower)
                truth = [self.job.labels.index(ask.answer or "") for ask in asked.asks]
                outcome = Outcome(calibrated_loss(scores, truth), chosen)
        model.train(trained)
        return outcome

    def _section(
        self, settings: JobSettings, learn: AnswerSet, budget: str, *, kept: bool, passes: float = math.inf
    ) -> TrainConfig:
        """Return a training section. The loss of few examples jumps by chance, so a jump means no divergence."""
        mean = learn.groups().lengths.sum() / len(learn)
        size = examples_a_step(len(learn), passes)
        return self._config.model_copy(
            update={
                "budget": budget,
                "learning_rate": settings.learning_rate,
                "batch_tokens": max(1, round(size * mean)),
                "micro_rows": max(1, _TOKENS_AT_ONCE // learn.tokens.context),
                "warmup": 0.1,
                "decay": 0.9,
                "schedule": "trapezoid",
                "compile": "off",
                "spike": 0.0,
                "rollbacks": self._config.rollbacks if kept else 0,
            }
        )

    def _engine(self, settings: JobSettings, config: TrainConfig, learn: AnswerSet) -> Engine:
        model = copy.deepcopy(self.start)
        frozen = 0
        if settings.trainable == "lora":
            lora.add(model, LoraConfig(), seed=self.seed)
        elif settings.trainable == "upper":
            frozen = freeze_lower(model, 1 - UPPER_SHARE)
        for name, answers in (("learn", self.learn), ("validation", self.validation)):
            if frozen and answers is not None and name not in self._lower:
                self._lower[name] = LowerStates(answers.tokens, frozen, self.work / f"lower-{name}")
        objective = Answer(learn, self.choices, self._lower["learn"] if frozen else None)
        batches = Batches(
            learn.tokens,
            batch_tokens=config.batch_tokens,
            micro_rows=config.micro_rows,
            seed=self.seed,
            groups=learn.groups(),
        )
        mixture = Mixture([MixtureComponent(_NAME, objective, batches)])
        return Engine(model, config, mixture, seed=self.seed, ranks=self._ranks)

    def _lower_of(self, name: str, engine: Engine) -> LowerStates | None:
        objective = engine.mixture.components[0].objective
        return self._lower.get(name) if isinstance(objective, Answer) and objective.has_frozen else None

    def _measured(self, settings: JobSettings) -> JsonObject:
        """Choose precision and micro-batches, and measure the pace, once for each kind of trainable weights.

        States of frozen blocks are kept where the budget has time to read them again.
        """
        path = self._pace_directory(settings) / _SETTINGS
        done = path.with_name(_MEASURED)
        if not done.exists():
            path.unlink(missing_ok=True)
            section = self._section(settings, self.learn, "1 steps", kept=False)
            engine = self._engine(settings, section, self.learn)
            runtime = choose_runtime(engine, path.parent, self.progress)
            component = engine.mixture.components[0]
            lengths = component.batches.groups.lengths
            some = range(max(1, int(np.searchsorted(lengths.cumsum(), _TOKENS_MEASURED, side="right"))))
            batch, tokens = component.batches.batch(some), int(lengths[: len(some)].sum())

            def pace() -> float:
                seconds = [engine.time_microbatch(component, batch, runtime.precision) for _ in range(2)]
                return min(seconds) / tokens

            budget = Budget.parse(self.job.config.budget)
            passes = budget.amount / (pace() * self._epoch_tokens)
            kept = budget.kind != "seconds" or passes >= _PASSES_WORTH_STATES
            self._keep_states(settings, kept=kept)
            engine.prepare(self.work, self.progress)
            if (lower := self._lower_of("validation", engine)) is not None:
                with engine.autocast():
                    lower.fill(engine.model, self.progress)
            fit_into_memory(engine, path, self.progress)
            chosen = {**read_json(path), "seconds_per_token": _pace_of_steps(engine)}
            reading = self._measured_reading(engine)
            write_json(done, {"kept": kept, "settings": chosen, "seconds_per_token_read": reading})
        found = read_json(done)
        self._keep_states(settings, kept=found["kept"])
        facts: JsonObject = found["settings"]
        return facts

    def _pace_directory(self, settings: JobSettings) -> Path:
        return self.work / f"pace-{settings.trainable}"

    def _measured_reading(self, engine: Engine) -> float:
        if self.validation is None:
            return 0.0
        some, lower = self.validation.within(_TOKENS_READ), self._lower_of("validation", engine)
        with engine.autocast():
            start = time.perf_counter()
            self._outcome(engine.model, some, lower)
        return (time.perf_counter() - start) / int(some.groups().lengths.sum())

    def _keep_states(self, settings: JobSettings, *, kept: bool) -> None:
        if settings.trainable == "upper" and "learn" in self._lower:
            self._lower["learn"].kept = kept

    def _finish(self, engine: Engine, settings: JobSettings) -> PreTrainedModel:
        model = engine.model
        use_stock_attention(model)
        model.eval()
        if settings.trainable == "lora":
            ids = self.learn.tokens.sequence(0)[0][:_MERGE_TOKENS].astype(np.int64)
            lora.merge(model, torch.from_numpy(ids)[None])
        model.requires_grad_(True)
        return model


def examples_a_step(examples: int, passes: float = math.inf) -> int:
    """Return how many of so many examples make a step.

    Few examples make smaller steps, and so do few passes over them: a handful of large steps teaches little.
    """
    usual = min(EXAMPLES_A_STEP, examples // 16)
    return max(4, round(min(usual, examples * passes / _LEAST_STEPS)))


def _passes(budget: Budget, seconds_per_token: float, learn: AnswerSet) -> float:
    """Return the passes over `learn` that a budget allows; infinite for one in steps or tokens."""
    if budget.kind == "epochs":
        return budget.amount
    seconds = seconds_per_token * float(learn.groups().lengths.sum())
    return budget.amount / seconds if budget.kind == "seconds" else math.inf


def _pace_of_steps(engine: Engine) -> float:
    """Return the seconds of a token in a whole step, its update included, at a rate of zero.

    The first step allocates what later ones reuse, so it is measured only where it is long.
    """
    batches, seconds = engine.mixture.components[0].batches, 0.0
    for step in range(2):
        start = time.perf_counter()
        engine.gradients(step)
        engine.update(0.0)
        seconds = time.perf_counter() - start
        if seconds > _LONG_STEP:
            break
    return seconds / batches.step_tokens(step)


def _nothing(done: TrainProgress) -> None:
    pass
