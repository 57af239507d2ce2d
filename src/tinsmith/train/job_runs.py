"""The runs of a job in different orders, each finished once, and the mean of their weights."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.base.files import atomic_path
from tinsmith.train.job_run import JobSettings, JobTrainer
from tinsmith.train.job_watch import Outcome
from tinsmith.train.weight_average import WeightMean

FIRST = "run"  # directory of the first run; further ones have a number
_FINISHED = "finished.safetensors"

Found = tuple[PreTrainedModel, Outcome | None, float]  # a model, what validation says of it, its passes


def learn_in_orders(trainer: JobTrainer, settings: JobSettings, budgets: Sequence[str], out: Path) -> Found:
    """Run once for each budget; return the mean of the weights, or the best run where validation prefers it.

    Model soups: Wortsman et al. 2022, arXiv:2203.05482. Raises TrainingError where the loss of the first run diverges;
    of later ones, a run that diverges is left out and told.
    """
    if len(budgets) == 1:
        return trainer.run(settings, budgets[0], out / FIRST, kept=True)
    mean, all_passes = WeightMean(), 0.0
    best: tuple[Path, Outcome | None] | None = None
    for number, budget in enumerate(budgets):
        directory = out / (FIRST if not number else f"{FIRST}-{number + 1}")
        try:
            model, outcome, passes = _finish_run(trainer, settings, budget, directory, number)
        except TrainingError as error:
            if not number:
                raise
            trainer.progress.say(f"  run {number + 1} is left out: {error.what}")
            continue
        all_passes += passes
        mean.add(dict(model.named_parameters()))
        del model
        if best is None or (outcome and best[1] and outcome.score.rank < best[1].score.rank):
            best = directory, outcome
    assert best is not None
    model = copy.deepcopy(trainer.start)
    mean.put(dict(model.named_parameters()))
    averaged = trainer.validate_model(model, settings)
    if averaged and best[1] and best[1].score.beats(averaged.score):
        _read_weights(model, best[0])
        return model, best[1], all_passes
    if averaged:
        trainer.progress.say(f"  {averaged.said('with the mean of the weights of the runs')}")
    return model, averaged, all_passes


def _finish_run(
    trainer: JobTrainer, settings: JobSettings, budget: str, directory: Path, order: int
) -> Found:
    """Run to the end and keep it on disk, or read what a call that was killed later has kept."""
    path = directory / _FINISHED
    if path.exists():
        model = copy.deepcopy(trainer.start)
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["facts"])
        _read_weights(model, directory)
        return model, _outcome(facts), facts["passes"]
    model, outcome, passes = trainer.run(settings, budget, directory, order=order, kept=True)
    facts = {"passes": passes}
    if outcome:
        facts |= {"loss": outcome.loss, "correct": outcome.correct.tolist()}
    weights = {name: weight.detach().contiguous() for name, weight in model.named_parameters()}
    with atomic_path(path) as partial:
        save_file(weights, partial, {"facts": json.dumps(facts)})
    return model, outcome, passes


def _outcome(facts: dict[str, float]) -> Outcome | None:
    return Outcome(facts["loss"], np.array(facts["correct"], dtype=bool)) if "loss" in facts else None


@torch.no_grad()
def _read_weights(model: PreTrainedModel, directory: Path) -> None:
    own = dict(model.named_parameters())
    for name, tensor in load_file(directory / _FINISHED).items():
        own[name].copy_(tensor)
