"""Ask our model, GGUF rivals and systems behind an API the same questions in words; store what each answered."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from tinsmith.base.completion import BYTES_PER_CHARACTER, Answer, Failure, Request
from tinsmith.base.errors import LLMError, RecipeError
from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Advance, Progress
from tinsmith.evaluate.families.generative import system_name
from tinsmith.evaluate.generated_answers import (
    STOPPED,
    SYSTEM,
    GeneratedRow,
    Question,
    build_prompt,
    choose_questions,
    generated_row,
)
from tinsmith.evaluate.own_questions import OpenItem, read_open_questions, read_own_questions
from tinsmith.evaluate.questions import CHOICES
from tinsmith.evidence.items import Item
from tinsmith.llm.key import ApiKey
from tinsmith.recipe import EndpointConfig, EvaluateConfig, LLMConfig, TaskConfig
from tinsmith.stages.evaluate.measured import Spent
from tinsmith.stages.evaluate.origins import Origins
from tinsmith.stages.llm_session import LLMSession, open_llm
from tinsmith.stages.outbound import Outbound
from tinsmith.stages.sent import ANSWERS, none_may_leave

_LOCAL_TOKENS = 64  # of an answer of a model that runs here
_BYTES_BESIDE = 4_000  # at most, of a question's text and choices beside the opening of its document


@dataclass(frozen=True)
class System:
    """Who is asked in words: `subject` names its files, `outbound` has the model and the most that it gets."""

    subject: str
    name: str
    outbound: Outbound
    max_tokens: int = _LOCAL_TOKENS


def check_words(config: EvaluateConfig) -> None:
    """Refuse what could not be asked in words, before anything is scored. Raises RecipeError or LLMError."""
    for number, endpoint in enumerate(config.endpoints):
        ApiKey.read(endpoint.key_variable, where=f"evaluate.endpoints.{number}")
    if config.questions and not config.asked_in_words and (unasked := read_open_questions(config.questions)):
        raise RecipeError(
            f"{', '.join(unasked)}: questions without choices need written answers, and none are asked for",
            where="evaluate.generated_items",
            next_step="set it to the number of questions per task to answer in words, or give the questions choices",
        )


def asked(config: EvaluateConfig, tasks: Sequence[TaskConfig]) -> tuple[Outbound, ...]:
    """Return the endpoints of the recipe, with the most that each receives."""
    most = partial(most_sent, config, tasks)
    return tuple(
        Outbound(f"evaluate.endpoints.{number}", endpoint, most)
        for number, endpoint in enumerate(config.endpoints)
    )


def most_sent(config: EvaluateConfig, tasks: Sequence[TaskConfig]) -> tuple[int, int]:
    """Return the most documents, and the most bytes of requests, that an endpoint receives.

    Raises RecipeError for a damaged file of questions.
    """
    # A question built from a document shows that one, and with each false choice perhaps another.
    kinds = [(1, task.characters) for task in tasks]
    kinds += [(CHOICES, config.characters)] * 2 if config.built_items else []
    limit = config.asked_in_words
    documents = limit * sum(count for count, _ in kinds)
    size = limit * sum(BYTES_PER_CHARACTER * characters + _BYTES_BESIDE for _, characters in kinds)
    own: list[Sequence[Question]] = [*read_own_questions(config.questions).values()]
    own += read_open_questions(config.questions).values()
    for items in own:
        sizes = sorted((len(f"{SYSTEM}{build_prompt(item)}".encode()) for item in items), reverse=True)
        documents, size = documents + len(sizes[:limit]), size + sum(sizes[:limit])
    return documents, size


@dataclass(frozen=True)
class Words:
    """What is asked in words, and of which endpoints: chosen before any model is opened."""

    questions: tuple[Question, ...]
    open_questions: tuple[OpenItem, ...]
    endpoints: tuple[tuple[EndpointConfig, Outbound], ...]
    origins: Origins

    @property
    def withheld(self) -> dict[str, frozenset[str]]:
        """Return, for each endpoint on another machine, the documents with a question that may not be sent."""
        kept = frozenset(item.doc_id for item in self.questions if not self.origins.may_leave(item))
        return {outbound.where: kept for _, outbound in self.endpoints if outbound.host}


def choose_words(
    config: EvaluateConfig,
    tasks: Sequence[TaskConfig],
    questions: Mapping[str, Sequence[Item]],
    origins: Origins,
    *,
    seed: int,
) -> Words:
    """Choose what is asked in words. Raises CorpusError where an endpoint may receive no question at all."""
    limit, own = config.asked_in_words, read_open_questions(config.questions)
    groups: list[Sequence[Question]] = [*questions.values(), *own.values()] if limit else []
    chosen = tuple(item for items in groups for item in choose_questions(items, limit, seed=seed))
    endpoints = tuple(zip(config.endpoints, asked(config, tasks), strict=True))
    for _, outbound in endpoints:
        if chosen and outbound.host and not any(map(origins.may_leave, chosen)):
            raise none_may_leave(outbound, map(origins.label, chosen))
    return Words(chosen, tuple(itertools.chain.from_iterable(own.values())), endpoints, origins)


def answer_in_words(
    words: Words, local: Sequence[tuple[str, str, Path]], *, out: Path, progress: Progress
) -> dict[str, Spent]:
    """Ask all systems the same questions; store their answers below `out`/items. Returns what each took.

    `local` gives subject, name and GGUF of each model that runs here. Answers are kept in `out`/answers, so that a
    killed run asks none of them again. Raises LLMError where an endpoint gave no answer at all.
    """
    spent: dict[str, Spent] = {}
    if not words.questions:
        return spent
    write_jsonl(out / "items" / "open.jsonl", map(asdict, words.open_questions))
    for system in _systems(words.endpoints, local):
        rows, spent[system.subject] = _ask(system, words, out / ANSWERS, progress)
        write_jsonl(out / "items" / f"generated-{system.subject}.jsonl", rows)
    return spent


def _systems(
    endpoints: Sequence[tuple[EndpointConfig, Outbound]], local: Sequence[tuple[str, str, Path]]
) -> Iterator[System]:
    for subject, name, gguf in local:
        model = LLMConfig(kind="local", model=str(gguf), parallel=1)
        yield System(subject, name, Outbound("evaluate", model))
    for endpoint, outbound in endpoints:
        yield System(endpoint.name, system_name(endpoint), outbound, endpoint.max_tokens)


def _ask(system: System, words: Words, answers: Path, progress: Progress) -> tuple[list[GeneratedRow], Spent]:
    """Return a row for each question, and what the answers took in sum."""
    began = time.monotonic()
    outbound, questions = system.outbound, words.questions
    requests = [
        Request(
            build_prompt(item),
            SYSTEM,
            system.max_tokens,
            documents=words.origins.of(item) if outbound.host else (),
        )
        for item in questions
    ]
    what = f"  {system.subject}: answers in words"
    with (
        open_llm(
            outbound.model,
            where=outbound.where,
            folder=answers / system.subject,
            permitted=words.origins.permitted,
            most_bytes=outbound.most()[1] if outbound.host else 0,
        ) as asking,
        progress.task(what, len(requests), "questions") as advance,
    ):
        outcomes = outcomes_of(asking, requests, advance)
        rows = [generated_row(item, outcome) for item, outcome in zip(questions, outcomes, strict=True)]
        return rows, Spent(asking.budget.spent, time.monotonic() - began)


def outcomes_of(asking: LLMSession, requests: list[Request], advance: Advance) -> Iterator[Answer | Failure]:
    """Yield an outcome per question; where the endpoint gives up in the middle the rest was not asked.

    Raises LLMError where it gave no answer at all.
    """
    came = 0
    try:
        for outcome in asking.ask(requests):
            came += 1
            advance(1)
            yield outcome
    except LLMError as error:
        if not asking.tally.answers:
            raise
        for _ in requests[came:]:
            yield Failure(STOPPED, str(error).splitlines()[0])
