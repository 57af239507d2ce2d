"""Speed and cost of answers: tokens a second, joules and price, from what llama.cpp generated."""

from __future__ import annotations

from typing import TypedDict

from tinsmith.evidence.bootstrap import Estimate
from tinsmith.evidence.family import Family, FamilyCost, FigureContext, Figures, MetricSpec, Section
from tinsmith.evidence.schema import MetricRow
from tinsmith.recipe import MeterConfig, Recipe

_PROMPTS, _PROMPT_TOKENS = 4, 75  # three prompts and an uncounted one
# Generating reads all weights for each token, where reading a text uses them for many tokens at once.
_GENERATED = 3


class Answer(TypedDict):
    """One generated answer."""

    prompt_tokens: int
    tokens: int
    seconds: float
    tokens_per_second: float


class Energy(TypedDict):
    """The joules of all answers as a range, and how they were measured."""

    joules_low: float
    joules: float
    joules_high: float
    method: str


class SpeedItem(TypedDict):
    """What `items/speed-SUBJECT.json` holds."""

    answers: list[Answer]
    energy: Energy


def figures(context: FigureContext) -> Figures:
    """Return tokens a second, joules an answer and the price of energy, for each file that llama.cpp ran."""
    stored: dict[str, SpeedItem] = context.items.values(FAMILY.kind)
    meter = context.meter
    return Figures([row for subject, item in stored.items() for row in _rows(subject, item, meter)])


def _rows(subject: str, item: SpeedItem, meter: MeterConfig) -> list[MetricRow]:
    """Speed ranges over answers, joules as the meter does."""
    answers, energy = item["answers"], item["energy"]
    rates = sorted(answer["tokens_per_second"] for answer in answers)
    mean = sum(answer["tokens"] for answer in answers) / sum(
        answer["tokens"] / answer["tokens_per_second"] for answer in answers
    )
    joules = [energy[bound] / len(answers) for bound in ("joules", "joules_low", "joules_high")]  # type: ignore[literal-required]
    price = [1000 * value * meter.pue / 3.6e6 * meter.price_per_kwh for value in joules]
    file = {"file": f"items/{FAMILY.kind}-{subject}.json"}
    modelled = file | {"method": energy["method"]}
    count = len(answers)
    return [
        FAMILY.row("tokens_per_second", (), subject, Estimate(mean, rates[0], rates[-1]), count, **file),
        FAMILY.row("joules_per_answer", (), subject, Estimate(*joules), count, **modelled),
        FAMILY.row(
            "energy_price_per_1000_answers",
            (),
            subject,
            Estimate(*price),
            count,
            **modelled | {"unit": meter.currency},
        ),
    ]


def _cost(recipe: Recipe, bytes_per_token: float) -> FamilyCost:
    generated = _GENERATED * recipe.evaluate.speed_tokens
    return FamilyCost(_PROMPTS * (_PROMPT_TOKENS + generated), models="local")


FAMILY = Family(
    kind="speed",
    order=90,
    metrics=(
        MetricSpec("tokens_per_second", "tokens/s", "Tokens per second", higher_is_better=True),
        MetricSpec("joules_per_answer", "J", "Joules per answer", higher_is_better=False),
        MetricSpec(
            "energy_price_per_1000_answers", "", "Energy price per 1000 answers", higher_is_better=False
        ),
    ),
    figures=figures,
    cost=_cost,
    section=Section("speed", "Speed", 25),
)
