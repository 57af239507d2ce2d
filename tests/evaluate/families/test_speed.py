import pytest

from family_figures import compute
from tinsmith.evaluate.families.speed import FAMILY
from tinsmith.recipe import MeterConfig

METER = MeterConfig(pue=1.5, price_per_kwh=0.36, currency="EUR")
ANSWERS = [
    {"prompt_tokens": 7, "tokens": 8, "seconds": 0.9, "tokens_per_second": 10.0},
    {"prompt_tokens": 7, "tokens": 8, "seconds": 1.3, "tokens_per_second": 20 / 3},
]
ENERGY = {"joules_low": 2.0, "joules": 6.0, "joules_high": 12.0, "method": "load model"}


def test_figures_give_speed_joules_and_price_of_an_answer(tmp_path):
    found = compute(FAMILY, tmp_path, {"base": {"answers": ANSWERS, "energy": ENERGY}}, meter=METER)
    speed, joules, price = found.metrics
    assert speed.value == pytest.approx(16 / (0.8 + 1.2))
    assert (speed.low, speed.high) == pytest.approx((20 / 3, 10.0))
    assert (joules.low, joules.value, joules.high) == (1.0, 3.0, 6.0)
    assert joules.method == "load model"
    assert price.value == pytest.approx(1000 * 3.0 * 1.5 / 3.6e6 * 0.36)
    assert (price.unit, joules.unit, speed.unit) == ("EUR", "J", "tokens/s")
    assert [row.metric for row in found.metrics] == [
        "tokens_per_second",
        "joules_per_answer",
        "energy_price_per_1000_answers",
    ]
    assert all(row.subject == "base" and row.items == 2 for row in found.metrics)
    assert {row.file for row in found.metrics} == {"items/speed-base.json"}
