"""Ask our model, GGUF rivals and systems behind an API the same questions in words; keep what each said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinsmith.base.completion import Answer, Failure, Request
from tinsmith.base.errors import LLMError, RecipeError
from tinsmith.base.files import write_jsonl
from tinsmith.base.progress import Advance, Progress
from tinsmith.evaluate.families.generative import (
    STOPPED,
    SYSTEM,
    Question,
    build_prompt,
    choose_questions,
    generated_row,
)
from tinsmith.evaluate.families.generative_table import (
    PROTOCOL,
    partial_notes,
    system_row,
    tabulate_generated,
)
from tinsmith.evaluate.items import BASE, CONTROLS, OURS, OURS_4BIT, Item
from tinsmith.evaluate.own_questions import read_open_questions
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
    taken = {OURS, OURS_4BIT, BASE, *CONTROLS}
    for number, endpoint in enumerate(config.endpoints):
        if endpoint.name in taken:
            raise RecipeError(
                f"two subjects are called {endpoint.name!r}",
                where=f"evaluate.endpoints.{number}.name",
                next_step="give it a name of its own",
            )
        taken.add(endpoint.name)
        ApiKey.read(endpoint.key_variable, where=f"evaluate.endpoints.{number}")
    if config.questions and not config.asked_in_words and (unasked := read_open_questions(config.questions)):
        raise RecipeError(
            f"{', '.join(unasked)}: questions without choices are answered in words alone, and none are asked so",
            where="evaluate.generated_items",
            next_step="set it to how many questions a task are asked in words, or give choices",
        )


def answer_in_words(
    config: EvaluateConfig,
    exams: dict[str, list[Item]],
    local: Sequence[tuple[str, str, Path]],
    *,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, Any] | None:
    """Ask all systems; write their rows below `out`/items; return systems, metrics, comparisons and notes.

    `local` gives subject, name and GGUF of each model that runs here. None where a recipe asks nothing in words.
    Answers are kept in `out`/answers, so that a killed run asks none of them again. Raises LLMError where an
    endpoint gave no answer at all.
    """
    if not config.asked_in_words:
        return None
    asked = read_open_questions(config.questions)
    write_jsonl(out / "items" / "open.jsonl", (asdict(item) for items in asked.values() for item in items))
    tasks: list[Sequence[Question]] = [*exams.values(), *asked.values()]
    questions = [
        item for items in tasks for item in choose_questions(items, config.asked_in_words, seed=seed)
    ]
    rows, systems = {}, []
    for system in _systems(config.endpoints, local):
        rows[system.subject] = list(_ask(system, questions, out / "answers", progress))
        write_jsonl(out / "items" / f"generated-{system.subject}.jsonl", rows[system.subject])
        kind = system.teacher.kind
        systems.append(system_row(system.subject, system.name, kind, rows[system.subject], config))
    table = tabulate_generated(rows, config, seed)
    return {"systems": systems, **table, "notes": [PROTOCOL, *partial_notes(systems, rows)]}


def _systems(endpoints: Sequence[EndpointConfig], local: Sequence[tuple[str, str, Path]]) -> Iterator[System]:
    for subject, name, gguf in local:
        yield System(subject, name, LLMConfig(kind="local", model=str(gguf), parallel=1), "evaluate")
    for number, each in enumerate(endpoints):
        name = each.name if each.name == each.model else f"{each.name} ({each.model})"
        yield System(each.name, name, each, f"evaluate.endpoints.{number}", each.max_tokens)


def _ask(
    system: System, questions: Sequence[Question], answers: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
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
