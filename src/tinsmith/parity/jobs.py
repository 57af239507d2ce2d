"""The parity gate of a job: its exports, asked the job's own prompts, agree with the model that learnt it.

Prompts are token ids, as everywhere a job is asked. Distributions are compared where the tokens of the right answer are
chosen. A classification is compared after the prompt, and then asked as the server asks it: the probabilities of its
labels must agree.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import ParityError
from tinsmith.base.files import JsonObject
from tinsmith.base.progress import Progress
from tinsmith.jobs.asks import asks_of, prompt_of
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.prompt import answer_ids
from tinsmith.jobs.spec import Job, read_job
from tinsmith.parity.gate import compare_exports
from tinsmith.parity.prompts import Prompt
from tinsmith.parity.recompute import least_share
from tinsmith.recipe import PackageConfig
from tinsmith.serve.job_model import JobModel
from tinsmith.serve.label_reader import LabelReader
from tinsmith.tokens.tokenizer import load_tokenizer

_FEWEST = 24  # prompts
_TOKENS = 1.5  # times as many tokens are read as positions are compared without jobs


def check_job(
    learnt: Path,
    directory: Path,
    rows: Sequence[JsonObject],
    config: PackageConfig,
    progress: Progress,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare the exports in a job's directory with the model that learnt it, over rows of its examples.

    Returns the evidence as `check_parity` does; formats of a classification also have label_kl, same_label and its
    bound. Raises ParityError that names the job, the format and the difference.
    """
    job = read_job(directory)
    ggufs: dict[str, Path] = {
        format: directory / "gguf" / f"model-{format}.gguf" for format in config.formats
    }
    drawn = list(rows)
    random.Random(seed).shuffle(drawn)

    def draw(tokenizer: PreTrainedTokenizerFast) -> list[Prompt]:
        return draw_job_prompts(job, drawn, tokenizer, config)

    try:
        found = compare_exports(learnt, directory / "model", ggufs, draw, config, progress)
        if is_tree(job):
            _compare_labels(found, learnt, directory, drawn, config, progress)
    except ParityError as error:
        where = f"parity gate, job {job.config.name}"
        raise ParityError(error.what, where=where, next_step=error.next_step) from None
    return found


def is_tree(job: Job) -> bool:
    """Say whether the job chooses one of its labels, so that these have probabilities."""
    return job.config.kind == "classify" and not job.config.several


def draw_job_prompts(
    job: Job, rows: Sequence[JsonObject], tokenizer: PreTrainedTokenizerFast, config: PackageConfig
) -> list[Prompt]:
    """Return prompts of the job, with the right answer: models are compared where its tokens are chosen."""
    prompts: list[Prompt] = []
    for row in rows:
        for ask in asks_of(job, row, tokenizer):
            # Of a classification only the choices among labels are learnt; the others are compared by their labels.
            chosen = () if is_tree(job) else answer_ids(tokenizer, ask.answer or "")[:-1]
            ids = prompt_of(job, tokenizer, ask).ids
            prompts.append(Prompt("job", "", (*ids, *chosen), answered=1 + len(chosen)))
        tokens = sum(len(prompt.ids) for prompt in prompts)
        if len(prompts) >= config.parity_prompts or (
            len(prompts) >= _FEWEST and tokens >= _TOKENS * config.parity_positions
        ):
            break
    return prompts


def _compare_labels(
    found: dict[str, Any],
    learnt: Path,
    directory: Path,
    rows: Sequence[JsonObject],
    config: PackageConfig,
    progress: Progress,
) -> None:
    """Add to the figures and items of each format how the labels' probabilities agree. Raises ParityError."""
    job, tokenizer = read_job(directory), load_tokenizer(directory / "model")
    count = sum(item["format"] == "saved" for item in found["items"])
    prompts = [prompt_of(job, tokenizer, asks_of(job, row, tokenizer)[0]).ids for row in rows[:count]]
    tree = LabelTree.of(tokenizer, job.labels)
    failures = []
    with progress.task("labels", len(prompts) * (2 + len(config.formats)), "prompts") as advance:
        # Only logits of the labels' tokens are computed: a whole vocabulary at each of many branches fills the memory.
        expected = LabelReader(learnt, tree, torch.float32).scores(prompts)
        advance(len(prompts))
        scores = {"saved": LabelReader(directory / "model", tree, torch.float32).scores(prompts)}
        advance(len(prompts))
        for format in config.formats:
            with JobModel(directory, format) as model:
                scores[format] = model.label_scores(prompts)
            advance(len(prompts))
    for name, got in scores.items():
        pairs = [_agreement(*pair) for pair in zip(expected, got, strict=True)]
        items = [item for item in found["items"] if item["format"] == name]
        for item, (kl, same) in zip(items, pairs, strict=True):
            item.update(label_kl=kl, same_label=same)
        figures = found["formats"][name]
        figures["label_kl"] = math.fsum(kl for kl, _ in pairs) / count
        figures["same_label"] = sum(same for _, same in pairs) / count
        figures["bound_same_label"] = least_share(config.min_top1[name], count)
        # Written so that NaN fails.
        if not (
            figures["label_kl"] <= figures["bound_kl"]
            and figures["same_label"] >= figures["bound_same_label"]
        ):
            failures.append(
                f"{name}: labels have a mean KL of {figures['label_kl']:.4f} nats (at most {figures['bound_kl']}), "
                f"and {figures['same_label']:.3f} of answers are the same (at least {figures['bound_same_label']:.3f})"
            )
    if failures:
        raise ParityError(
            "; ".join(failures),
            next_step="remove the format from package.formats, or widen package.max_kl and package.min_top1",
        )


def _agreement(expected: dict[str, float], got: dict[str, float]) -> tuple[float, bool]:
    """Return KL(expected || got) in nats of two distributions of labels, and whether the likeliest is the same."""
    kl = math.fsum(math.exp(value) * (value - got[label]) for label, value in expected.items())
    return kl, max(expected, key=expected.__getitem__) == max(got, key=got.__getitem__)
