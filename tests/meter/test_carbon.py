"""Joules become grams and money by figures that have a source."""

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.meter.carbon import BLOOM_ACCOUNTS, flights, footprint, grid, yardsticks


def test_grid_by_code_and_world() -> None:
    assert grid("DEU").g_co2e_per_kwh == pytest.approx(380.95)
    assert grid("deu").country == "Germany"
    assert grid("WORLD").year == 2023
    assert 400 < grid("WORLD").g_co2e_per_kwh < 520


@pytest.mark.parametrize(("wrong", "nearest"), [("Germany", "DEU"), ("SWTZ", "CHE|SWZ"), ("DEX", "MEX|DEU")])
def test_unknown_country_names_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(RecipeError) as caught:
        grid(wrong)
    assert any(code in str(caught.value) for code in nearest.split("|"))
    assert "meter.country" in str(caught.value)


def test_footprint_counts_building_energy_price_and_rent() -> None:
    print_ = footprint(
        (1.8e6, 3.6e6, 7.2e6),
        seconds=1800,
        country="FRA",
        pue=1.5,
        price_per_kwh=0.2,
        machine_price_per_hour=3.0,
        currency="CHF",
    )
    assert (print_.kwh_low, print_.kwh, print_.kwh_high) == pytest.approx((0.75, 1.5, 3.0))
    assert print_.g_co2e == pytest.approx(1.5 * 56.039)
    assert (print_.money_low, print_.money_high) == pytest.approx((0.15 + 1.5, 0.6 + 1.5))
    assert print_.currency == "CHF"


def test_yardsticks_keep_their_published_figures_and_sources() -> None:
    by_name = {row.run: row for row in yardsticks()}
    assert by_name["GPT-3 175B (V100)"].t_co2e == 552
    assert by_name["GPT-3 175B (V100)"].url == "https://arxiv.org/abs/2104.10350"
    assert by_name["BLOOM 176B"].mwh == 433
    assert "400 W" in by_name["Llama-2 70B"].note
    assert by_name["Phi-2"].derived
    assert by_name["Phi-2"].mwh == pytest.approx(32_256 * 400 / 1e6)
    assert all(row.source for row in by_name.values())


def test_sixty_flights_are_blooms_life_cycle() -> None:
    assert [t for _, _, t in BLOOM_ACCOUNTS] == [24.7, 39.3, 50.5]
    assert flights(BLOOM_ACCOUNTS[-1][2]) == pytest.approx(60.6, abs=0.05)
