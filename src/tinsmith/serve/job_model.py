"""Ask a finished job: its model in llama.cpp's server, prompts as token ids, answers with a confidence.

A classification reads the probabilities of the labels' own tokens, so no other answer is possible. /completion gives
them in one request: a bias lifts the tokens that may follow far above all others, and `n_probs` reports them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from pydantic_core import from_json

from tinsmith.base.errors import BundleError, RunError
from tinsmith.gguf.header import read_metadata
from tinsmith.jobs.asks import asks_of, prompt_of
from tinsmith.jobs.calibration import confidence, needs_a_person
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.spec import FILE, read_job
from tinsmith.serve.runtime import LlamaServer, find_gguf
from tinsmith.tokens.tokenizer import load_tokenizer

SLOTS = 8
# Lifts the tokens of a branch above all others; float32 keeps 1e-5 of a logit beside it.
_LIFT = 100.0
# One token is sampled whatever it is: the server reports no probabilities for half a character, so it gets plain
# letters. It stands as far above the branch as the branch above the rest leaves room for in float32.
_DECOY_LIFT = 140.0


@dataclass(frozen=True)
class JobAnswer:
    """An answer of a job, or why none is given.

    `probabilities` has each label's share; `left_out` is the number of tokens of the input that did not fit.
    """

    answer: Any
    confidence: float
    ask_a_person: bool
    withheld: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    left_out: int = 0


def find_jobs(bundle: Path) -> dict[str, Path]:
    """Return the directories of the jobs in a bundle, or in the output of the stage *package*, by name."""
    return {path.parent.name: path.parent for path in sorted((bundle / "jobs").glob(f"*/{FILE}"))}


def choose_job(bundle: Path, name: str = "") -> Path:
    """Return the directory of a bundle's job, by default the only one. Raises BundleError that lists the jobs."""
    jobs = find_jobs(bundle)
    if not jobs:
        raise BundleError(
            "holds no jobs",
            where=str(bundle),
            next_step="choose a bundle whose recipe has [[jobs]]",
        )
    if name in jobs:
        return jobs[name]
    if not name and len(jobs) == 1:
        return next(iter(jobs.values()))
    what = f"has no job {name!r}" if name else f"has {len(jobs)} jobs"
    raise BundleError(what, where=str(bundle), next_step=f"choose a job: {', '.join(jobs)}")


class JobModel:
    """A job of a bundle, ready to answer, for a `with` block.

    Raises BundleError where the directory holds no such file, AssetError for one that llama.cpp cannot open.
    """

    def __init__(self, directory: Path, format: str | None = None, *, threads: int | None = None) -> None:
        self.job = read_job(directory)
        self.gguf = find_gguf(directory, format)
        self.tokenizer = load_tokenizer(directory / "model")
        self.tree = LabelTree.of(self.tokenizer, self.job.labels)
        self._decoy = int(self.tokenizer("a", add_special_tokens=False)["input_ids"][0])
        context = SLOTS * min(self.job.config.context, _trained_context(self.gguf))
        self._server = LlamaServer(self.gguf, context=context, slots=SLOTS, threads=threads)
        self._client: httpx.Client | None = None

    def __enter__(self) -> JobModel:
        self._server.__enter__()
        self._client = self._server.client()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        self._server.__exit__(kind, error, trace)

    def answer(self, rows: Sequence[dict[str, Any]]) -> list[JobAnswer]:
        """Answer rows, each with `input` and, where the kind needs it, `record`; in order."""
        prompts = [
            prompt_of(self.job, self.tokenizer, asks_of(self.job, row, self.tokenizer)[0]) for row in rows
        ]
        scores = self.label_scores([prompt.ids for prompt in prompts])
        return [
            self._settled(log_probabilities, prompt.left_out)
            for log_probabilities, prompt in zip(scores, prompts, strict=True)
        ]

    def _settled(self, log_probabilities: dict[str, float], left_out: int) -> JobAnswer:
        shares = confidence(self.job, log_probabilities)
        best = max(shares, key=shares.__getitem__)
        sure = shares[best]
        return JobAnswer(best, sure, needs_a_person(self.job, sure), "", shares, left_out)

    def label_scores(self, prompts: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """Return ln p of each label after each prompt of token ids, before calibration."""
        # Prompts of like length share a batch without waiting for a longer one.
        order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
        groups = [order[start : start + SLOTS] for start in range(0, len(order), SLOTS)]
        scores: list[dict[str, float]] = [{}] * len(prompts)
        # With a second group waiting, the server's batches are full while the first one's answers are read.
        with ThreadPoolExecutor(1 if len(self.tree.branches) > 1 else 2) as pool:
            for group, found in zip(
                groups, pool.map(self._group_scores, ([prompts[i] for i in group] for group in groups))
            ):
                for number, score in zip(group, found, strict=True):
                    scores[number] = score
        return scores

    def _group_scores(self, prompts: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        logits = [
            self._branch_logits([[*prompt, *branch.prefix] for prompt in prompts], branch.tokens)
            for branch in self.tree.branches
        ]
        return [
            self.tree.log_probabilities([of_branch[number] for of_branch in logits])
            for number in range(len(prompts))
        ]

    def _branch_logits(self, prompts: list[list[int]], tokens: tuple[int, ...]) -> list[list[float]]:
        """Return the log-probabilities of tokens after each prompt, up to a constant."""
        # Where the decoy is one of the tokens, its lift is taken off again.
        lifts = dict.fromkeys(tokens, _LIFT) | {self._decoy: _DECOY_LIFT}
        body = {
            "prompt": prompts,
            "n_predict": 1,
            "samplers": ["top_k", "temperature"],
            "top_k": len(lifts),
            "temperature": 1.0,
            "n_probs": len(lifts),
            "post_sampling_probs": True,
            "logit_bias": [list(lift) for lift in lifts.items()],
            "cache_prompt": len(self.tree.branches) > 1,
        }
        replies = self._post("/completion", body)
        found = []
        for reply in replies if isinstance(replies, list) else [replies]:
            shares = {
                entry["id"]: entry["prob"] for entry in reply["completion_probabilities"][0]["top_probs"]
            }
            # What float32 rounds to zero is at least that unlikely.
            found.append([math.log(shares.get(token, 1e-38)) - lifts[token] for token in tokens])
        return found

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        assert self._client is not None
        try:
            reply = self._client.post(path, json=body)
        except httpx.TransportError as error:
            raise RunError(
                f"llama.cpp's server does not answer ({error})",
                where=str(self.gguf),
                next_step="free some memory and run the same command again",
            ) from error
        content = from_json(reply.content)
        if reply.status_code != 200:
            raise RunError(
                f"llama.cpp's server refused {path}: {content['error']['message']}",
                where=str(self.gguf),
                next_step="lower the job's `context`, or free some memory",
            )
        return content


def _trained_context(gguf: Path) -> int:
    metadata = read_metadata(gguf)
    return int(metadata[f"{metadata['general.architecture']}.context_length"])
