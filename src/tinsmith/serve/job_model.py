"""Ask a finished job: its model in llama.cpp's server, prompts as token ids, answers with a confidence.

A classification reads the probabilities of the labels' own tokens, so no other answer is possible. /completion gives
them in one request: a bias lifts the tokens that may follow far above all others, and `n_probs` reports them.
All other kinds write under a grammar; their own readers make results of what was written.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
from pydantic_core import from_json

from tinsmith.base.errors import BundleError, RunError
from tinsmith.base.files import JsonObject
from tinsmith.jobs.ask import NONE, SEPARATOR, Ask, Reply, Result
from tinsmith.jobs.asks import asks_of, prompt_of, results
from tinsmith.jobs.calibration import answer_confidence, confidence, needs_a_person
from tinsmith.jobs.checks import Checks
from tinsmith.jobs.grammar import LINE, choices_grammar
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.prompt import Prompt, answer_ids
from tinsmith.jobs.schema import fields_of
from tinsmith.jobs.spans import Value
from tinsmith.jobs.spec import FILE, Job, read_job
from tinsmith.serve.room import trained_context
from tinsmith.serve.runtime import LlamaServer, find_gguf
from tinsmith.tokens.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tinsmith.serve.label_reader import LabelReader
    from tinsmith.serve.prompt_reader import PromptReader, Written

SLOTS = 8
# Lifts the tokens of a branch above all others; float32 keeps 1e-5 of a logit beside it.
_LIFT = 100.0
# One token is sampled whatever it is: the server reports no probabilities for half a character, so it gets plain
# letters. It stands as far above the branch as the branch above the rest leaves room for in float32.
_DECOY_LIFT = 140.0
_LIKELIEST = 32  # tokens among which " none" is looked for
_LEAST = 1e-38  # what float32 rounds to zero is at least that unlikely
Given = TypeVar("Given", bound=Sized)
Answered = TypeVar("Answered")


@dataclass(frozen=True)
class JobAnswer:
    """An answer of a job, or why none is given.

    `confidence` is None for a written text. `probabilities` has each label's share; `left_out` is the number of tokens
    of the input that did not fit. `fields` has the values of an extraction with their places; `notes` say what a part
    of the answer was left out for.
    """

    answer: Any
    confidence: float | None
    ask_a_person: bool
    withheld: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    left_out: int = 0
    fields: dict[str, list[Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    tries: int = 1  # how often it was asked for, because an earlier answer broke a check


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
    """A job of a bundle, ready to answer, for a `with` block. It is a `JobAnswerer` for the kinds that write.

    With `bulk`, labels and probabilities of "none" are read in PyTorch, many prompts at once; llama.cpp's server is
    started only for what is written.
    Raises BundleError where the directory holds no such file, AssetError for one that llama.cpp cannot open.
    """

    def __init__(
        self, directory: Path, format: str | None = None, *, threads: int | None = None, bulk: bool = False
    ) -> None:
        self._set(
            read_job(directory), find_gguf(directory, format), load_tokenizer(directory / "model"), threads
        )
        one_label = self.job.config.kind == "classify" and not self.job.config.several
        self._reads_labels = bulk and one_label
        self._reads_none = bulk and self.job.config.kind in ("extract", "answer")

    @classmethod
    def untaught(
        cls, job: Job, gguf: Path, tokenizer: PreTrainedTokenizerFast, shown: Sequence[int] = ()
    ) -> JobModel:
        """Return any model that is asked a job, after the token ids of examples if some are `shown`."""
        model = cls.__new__(cls)
        model._set(job, gguf, tokenizer, None, tuple(shown))
        return model

    def _set(
        self,
        job: Job,
        gguf: Path,
        tokenizer: PreTrainedTokenizerFast,
        threads: int | None,
        shown: tuple[int, ...] = (),
    ) -> None:
        self.job, self.gguf, self.tokenizer, self._shown = job, gguf, tokenizer, shown
        self.tree = LabelTree.of(tokenizer, job.labels)
        self.checks = Checks(job.config)
        self._decoy = int(tokenizer("a", add_special_tokens=False)["input_ids"][0])
        context = SLOTS * min(self._room, trained_context(gguf))
        self._server = LlamaServer(gguf, context=context, slots=SLOTS, threads=threads)
        self._client: httpx.Client | None = None
        self._labels: LabelReader | None = None
        self._reader: PromptReader | None = None
        self._reads_labels = self._reads_none = False

    @property
    def _room(self) -> int:
        """Return the tokens of examples, prompt and answer together, at most."""
        return self.job.config.context + len(self._shown)

    def __enter__(self) -> JobModel:
        if self._reads_labels:
            from tinsmith.serve.label_reader import LabelReader

            self._labels = LabelReader(self.gguf, self.tree)
            return self
        if self._reads_none:
            from tinsmith.serve.prompt_reader import PromptReader

            self._reader = PromptReader(self.gguf)
        self._server.__enter__()
        self._client = self._server.client()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        self._server.__exit__(kind, error, trace)

    def answer(self, rows: Sequence[JsonObject]) -> list[JobAnswer]:
        """Answer rows, each with `input` and, where the question names fields, `record`; in order."""
        if self.job.config.kind != "classify":
            return [
                self._settled(result, self._left_out(row))
                for row, result in zip(rows, results(self.job, rows, self.tokenizer, self), strict=True)
            ]
        if self.job.config.several:
            return self._several(rows)
        prompts = [self._prompt(row) for row in rows]
        scores = self.label_scores([prompt.ids for prompt in prompts])
        return [self._classified(*given) for given in zip(rows, prompts, scores, strict=True)]

    def label_scores(self, prompts: Sequence[Sequence[int]]) -> list[dict[str, float]]:
        """Return ln p of each label after each prompt of token ids, before calibration."""
        return (
            self._labels.scores(prompts) if self._labels else self._all_at_once(self._label_scores, prompts)
        )

    def none_probabilities(self, asks: Sequence[Ask]) -> list[float]:
        """Return for each ask the probability that its answer begins with the first token of " none".

        The server tells the likeliest tokens only: where that token is not among them, the least of these is given.
        """
        token = answer_ids(self.tokenizer, NONE)[0]
        if self._reader:
            return self._reader.probabilities([self._asked(ask) for ask in asks], token)

        def of_one(prompt: Sequence[int]) -> float:
            body = {"n_predict": 1, "temperature": 0.0, "n_probs": _LIKELIEST, "logit_bias": self._sampled}
            reply = self._complete(prompt, body)
            found = {entry["id"]: entry["logprob"] for entry in reply[0]["top_logprobs"]}
            return math.exp(found.get(token, min(found.values())))

        return self._in_order(asks, lambda place, prompt: of_one(prompt))

    def replies(
        self, asks: Sequence[Ask], grammars: Sequence[str], *, seed: int | None = None
    ) -> list[Reply]:
        """Write an answer to each ask under its grammar: the likeliest tokens, or drawn with a seed."""
        if (
            self._reader
            and self._reader.can_go_on
            and seed is None
            and all(grammar == LINE for grammar in grammars)
        ):
            return self._lines(self._reader, asks)
        drawn = {"temperature": 0.0} if seed is None else {"temperature": 1.0, "seed": seed}

        def write(place: int, prompt: Sequence[int]) -> Reply:
            body = {"n_predict": self._room - len(prompt), "grammar": grammars[place], "n_probs": 1, **drawn}
            return _read_tokens(self._complete(prompt, {**body, "top_k": 0, "top_p": 1.0, "min_p": 0.0}))

        return self._in_order(asks, write)

    def _lines(self, reader: PromptReader, asks: Sequence[Ask]) -> list[Reply]:
        """Write a line after each ask, many at once. A list ends where it begins to repeat itself."""
        prompts = [self._asked(ask) for ask in asks]
        fields = fields_of(self.job.config) if self.job.config.kind == "extract" else ()
        lists = {field.name for field in fields if field.several}

        def text_of(tokens: Sequence[Written]) -> str:
            return self.tokenizer.decode([token for token, _ in tokens]).strip()

        def repeated(number: int, tokens: Sequence[Written]) -> list[str]:
            """Return the values of a list, if its last whole one stands there before."""
            *whole, _ = text_of(tokens).split(SEPARATOR) if asks[number].field in lists else [""]
            return whole if len(set(whole)) < len(whole) else []

        def ends(number: int, tokens: Sequence[Written]) -> bool:
            return tokens[-1][0] in self._line_ends or bool(repeated(number, tokens))

        replies = []
        for number, tokens in enumerate(
            reader.lines(prompts, [self._room - len(ids) for ids in prompts], ends)
        ):
            values, whole_line = repeated(number, tokens), tokens[-1][0] in self._line_ends
            text = SEPARATOR.join(dict.fromkeys(values)) or text_of(tokens).partition("\n")[0]
            likely = math.exp(sum(log_p for _, log_p in tokens))
            replies.append(Reply(text.strip(), likely, whole_line or bool(values)))
        return replies

    @cached_property
    def _line_ends(self) -> frozenset[int]:
        """Return the tokens that hold a line end."""
        pieces = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
        return frozenset(token for token, piece in enumerate(pieces) if "\n" in piece)

    @property
    def _sampled(self) -> list[list[float]]:
        # The server reports no probabilities for half a character, so plain letters are sampled. A bias on the sampler
        # does not change the probabilities that it reports before sampling.
        return [[self._decoy, 1000.0]]

    def _classified(self, row: JsonObject, prompt: Prompt, scores: dict[str, float]) -> JobAnswer:
        shares = confidence(self.job, scores, row["input"])
        best = max(shares, key=shares.__getitem__)
        why = self.checks.broken(row, best)
        answer = self._settled(Result(None if why else best, shares[best], why), prompt.left_out)
        return replace(answer, probabilities=shares)

    def _several(self, rows: Sequence[JsonObject]) -> list[JobAnswer]:
        asks = [asks_of(self.job, row, self.tokenizer)[0] for row in rows]
        grammar = choices_grammar(self.job.labels, self.job.most_labels)
        found = []
        for row, reply in zip(rows, self.replies(asks, [grammar] * len(asks)), strict=True):
            labels = [label for label in reply.text.split(SEPARATOR) if label != NONE]
            why = self.checks.broken(row, labels) if reply.ended else "the labels do not fit into the context"
            sure = answer_confidence(self.job, reply.confidence)
            found.append(self._settled(Result(None if why else labels, sure, why), self._left_out(row)))
        return found

    def _settled(self, result: Result, left_out: int) -> JobAnswer:
        asked = bool(result.withheld) or needs_a_person(self.job, result.confidence)
        return JobAnswer(
            result.answer,
            result.confidence,
            asked,
            result.withheld,
            left_out=left_out,
            fields={name: list(map(self._judged, values)) for name, values in result.fields.items()},
            notes=result.notes,
            tries=result.tries,
        )

    def _judged(self, value: Value) -> Value:
        """Return a value of an extraction, and whether a person should look at it."""
        return replace(value, ask_a_person=needs_a_person(self.job, value.confidence))

    def _prompt(self, row: JsonObject) -> Prompt:
        return prompt_of(self.job, self.tokenizer, asks_of(self.job, row, self.tokenizer)[0])

    def _left_out(self, row: JsonObject) -> int:
        """Return how many tokens of the input are not read; an extraction reads all, passage by passage."""
        return 0 if self.job.config.kind == "extract" else self._prompt(row).left_out

    def _in_order(self, asks: Sequence[Ask], do: Callable[[int, Sequence[int]], Answered]) -> list[Answered]:
        """Do something with the prompt of each ask. Asks about one text follow each other, so that it is read once."""
        texts: dict[str, list[int]] = {}
        for place, ask in enumerate(asks):
            texts.setdefault(ask.text, []).append(place)

        def in_turn(places: list[int]) -> list[tuple[int, Answered]]:
            return [(place, do(place, self._asked(asks[place]))) for place in places]

        done = dict(pair for group in self._all_at_once(in_turn, list(texts.values())) for pair in group)
        return [done[place] for place in range(len(asks))]

    def _asked(self, ask: Ask) -> tuple[int, ...]:
        """Return the token ids of examples, if some are shown, and of a prompt."""
        ids = prompt_of(self.job, self.tokenizer, ask).ids
        return (*self._shown, *ids[1:]) if self._shown else ids

    def _all_at_once(self, do: Callable[[Given], Answered], items: Sequence[Given]) -> list[Answered]:
        """Do something with each item, with a few more requests under way than the server has slots."""
        # Items of like length follow each other, so that those of a batch end together.
        order = sorted(range(len(items)), key=lambda place: len(items[place]))
        with ThreadPoolExecutor(SLOTS + 2) as pool:
            done = dict(zip(order, pool.map(do, [items[place] for place in order])))
        return [done[place] for place in range(len(items))]

    def _label_scores(self, prompt: Sequence[int]) -> dict[str, float]:
        known: dict[int, list[float]] = {}
        for number, branch in enumerate(self.tree.branches):
            if self.tree.is_reached(number, known):
                known[number] = self._branch_logits([*prompt, *branch.prefix], branch.tokens)
        return self.tree.from_known(known)

    def _branch_logits(self, prompt: Sequence[int], tokens: tuple[int, ...]) -> list[float]:
        """Return the log-probabilities of tokens after a prompt, up to a constant."""
        # Where the decoy is one of the tokens, its lift is taken off again.
        lifts = dict.fromkeys(tokens, _LIFT) | {self._decoy: _DECOY_LIFT}
        body = {
            "n_predict": 1,
            "samplers": ["top_k", "temperature"],
            "top_k": len(lifts),
            "temperature": 1.0,
            "n_probs": len(lifts),
            "post_sampling_probs": True,
            "logit_bias": [list(lift) for lift in lifts.items()],
        }
        shares = {entry["id"]: entry["prob"] for entry in self._complete(prompt, body)[0]["top_probs"]}
        return [math.log(shares.get(token, _LEAST)) - lifts[token] for token in tokens]

    def _complete(self, prompt: Sequence[int], body: JsonObject) -> list[JsonObject]:
        """Return what the server tells of each token that it wrote after a prompt."""
        assert self._client is not None
        try:
            reply = self._client.post(
                "/completion", json={"prompt": list(prompt), "cache_prompt": True, **body}
            )
        except httpx.TransportError as error:
            raise RunError(
                f"llama.cpp's server does not answer ({error})",
                where=str(self.gguf),
                next_step="free some memory and run the same command again",
            ) from error
        content = from_json(reply.content)
        if reply.status_code != 200:
            raise RunError(
                f"llama.cpp's server refused a prompt: {content['error']['message']}",
                where=str(self.gguf),
                next_step="lower the job's `context`, or free some memory",
            )
        tokens: list[JsonObject] = content.get("completion_probabilities", [])
        return tokens


def _read_tokens(tokens: Sequence[JsonObject]) -> Reply:
    """Read an answer and its probability from its tokens, up to the line end."""
    text, log_probability = b"", 0.0
    for token in tokens:
        text += bytes(token["bytes"])
        log_probability += token["logprob"]
        if b"\n" in text:
            break
    line, end, _ = text.partition(b"\n")
    return Reply(line.decode("utf-8", "replace").strip(), math.exp(log_probability), bool(end))
