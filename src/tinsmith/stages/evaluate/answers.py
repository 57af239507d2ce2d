"""Ask our model, GGUF rivals and systems behind an API the same questions in words; store what each answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tinsmith.base.completion import Answer, Failure, Request
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
from tinsmith.evaluate.own_questions import read_open_questions
from tinsmith.evidence.items import Item
from tinsmith.llm.key import ApiKey
from tinsmith.recipe import EndpointConfig, EvaluateConfig, LLMConfig
from tinsmith.stages.llm_session import LLMSession, open_llm

_LOCAL_TOKENS = 64  # of an answer of a model that runs here


@dataclass(frozen=True)
class System:
    """Who is asked in words: `subject` names its files, `where` its place in the recipe."""

    subject: str
    name: str
    teacher: LLMConfig
    where: str
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


def answer_in_words(
    config: EvaluateConfig,
    questions: Mapping[str, Sequence[Item]],
    local: Sequence[tuple[str, str, Path]],
    *,
    seed: int,
    out: Path,
    progress: Progress,
) -> None:
    """Ask all systems the same questions; store their answers below `out`/items.

    `local` gives subject, name and GGUF of each model that runs here. Answers are kept in `out`/answers, so that a
    killed run asks none of them again. Raises LLMError where an endpoint gave no answer at all.
    """
    if not config.asked_in_words:
        return
    open_questions = read_open_questions(config.questions)
    write_jsonl(
        out / "items" / "open.jsonl", (asdict(item) for items in open_questions.values() for item in items)
    )
    tasks: list[Sequence[Question]] = [*questions.values(), *open_questions.values()]
    chosen = [item for items in tasks for item in choose_questions(items, config.asked_in_words, seed=seed)]
    for system in _systems(config.endpoints, local):
        rows = list(_ask(system, chosen, out / "answers", progress))
        write_jsonl(out / "items" / f"generated-{system.subject}.jsonl", rows)


def _systems(endpoints: Sequence[EndpointConfig], local: Sequence[tuple[str, str, Path]]) -> Iterator[System]:
    for subject, name, gguf in local:
        yield System(subject, name, LLMConfig(kind="local", model=str(gguf), parallel=1), "evaluate")
    for number, each in enumerate(endpoints):
        yield System(each.name, system_name(each), each, f"evaluate.endpoints.{number}", each.max_tokens)


def _ask(
    system: System, questions: Sequence[Question], answers: Path, progress: Progress
) -> Iterator[GeneratedRow]:
    requests = [Request(build_prompt(item), SYSTEM, system.max_tokens) for item in questions]
    what = f"  {system.subject}: answers in words"
    with (
        open_llm(system.teacher, where=system.where, folder=answers / system.subject) as asking,
        progress.task(what, len(requests), "questions") as advance,
    ):
        for item, outcome in zip(questions, _outcomes(asking, requests, advance), strict=True):
            yield generated_row(item, outcome)


def _outcomes(asking: LLMSession, requests: list[Request], advance: Advance) -> Iterator[Answer | Failure]:
    """Yield an outcome per question; where the endpoint gives up in the middle the rest was not asked."""
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
