"""Convert joules to grams of CO2e and money; compare with the energy of well-known training runs."""

from __future__ import annotations

import csv
import difflib
import functools
import itertools
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from tinsmith.base.errors import RecipeError

JOULES_PER_KWH = 3.6e6
GRID_SOURCE = "Ember; Energy Institute; with major processing by Our World in Data, CC BY 4.0"
EMBODIED = "The manufacture of the machine (embodied carbon) is not included."

# One economy seat London to New York one way: 5,555 km at 0.150 kg CO2e a passenger-kilometre, radiative
# forcing included (UK DESNZ conversion factors, 2024).
FLIGHT_T_CO2E = 5_555 * 0.150 / 1000
FLIGHT_SOURCE = (
    "UK DESNZ greenhouse gas conversion factors 2024: 5,555 km at 0.150 kg CO2e with radiative forcing"
)
# Luccioni, Viguier and Ligozat, arXiv:2211.02001: (what is counted, MWh, t CO2e).
BLOOM_ACCOUNTS = (
    ("dynamic energy of the training run alone", 433.0, 24.7),
    ("with idle nodes and infrastructure", 690.0, 39.3),
    ("with the manufacture of the machines as well", None, 50.5),
)
# Nominal watts of a board, used only if a run's energy was not published.
BOARD_WATTS = {"V100": 300.0, "A100-40GB": 400.0, "A100-80GB": 400.0, "H100-80GB": 700.0}
YARDSTICKS = ("GPT-3 175B (V100)", "BLOOM 176B", "Llama-2 70B", "Phi-2", "SmolLM-135M", "nanochat d32")


@dataclass(frozen=True)
class Grid:
    """Average carbon intensity of a country's electricity."""

    iso3: str
    country: str
    year: int
    g_co2e_per_kwh: float


@dataclass(frozen=True)
class Footprint:
    """Energy, carbon and cost as low, central and high estimates, including the data centre's overhead (PUE)."""

    kwh_low: float
    kwh: float
    kwh_high: float
    g_co2e_low: float
    g_co2e: float
    g_co2e_high: float
    money_low: float
    money: float
    money_high: float
    currency: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Yardstick:
    """A published training run. If `derived`, its energy is our estimate: board hours times nominal watts."""

    run: str
    parameters: float
    tokens: float
    accelerator: str
    accelerator_hours: float | None
    mwh: float
    derived: bool
    t_co2e: float | None
    source: str
    url: str
    note: str


def grid(country: str) -> Grid:
    """Look up a grid by ISO 3166 alpha-3 code or WORLD. Raises RecipeError that suggests the nearest code."""
    known = _grids()
    if country.upper() in known:
        return known[country.upper()]
    by_name = {grid.country.lower(): code for code, grid in known.items()}
    names = difflib.get_close_matches(country.lower(), by_name, n=1, cutoff=0.6)
    codes = (
        [by_name[names[0]]] if names else difflib.get_close_matches(country.upper(), known, n=1, cutoff=0.5)
    )
    hint = f"; did you mean {codes[0]} ({known[codes[0]].country})?" if codes else ""
    raise RecipeError(
        f"no grid is known for the country code {country!r}{hint}",
        where="meter.country",
        next_step="use an ISO 3166 alpha-3 code such as DEU, or WORLD for the average",
    )


def footprint(
    joules: tuple[float, float, float],
    seconds: float,
    *,
    country: str = "WORLD",
    pue: float = 1.0,
    price_per_kwh: float = 0.0,
    machine_price_per_hour: float = 0.0,
    currency: str = "EUR",
) -> Footprint:
    """Convert joules (low, central, high) and wall-clock seconds to kWh, g CO2e and money."""
    grams = grid(country).g_co2e_per_kwh
    kwh = [j * pue / JOULES_PER_KWH for j in joules]
    rent = seconds / 3600 * machine_price_per_hour
    money = [k * price_per_kwh + rent for k in kwh]
    return Footprint(
        kwh_low=kwh[0],
        kwh=kwh[1],
        kwh_high=kwh[2],
        g_co2e_low=kwh[0] * grams,
        g_co2e=kwh[1] * grams,
        g_co2e_high=kwh[2] * grams,
        money_low=money[0],
        money=money[1],
        money_high=money[2],
        currency=currency,
    )


def yardsticks() -> tuple[Yardstick, ...]:
    """Return the well-known runs to compare with, largest energy first."""
    rows = _read("published_runs.csv")
    for before, row in itertools.pairwise(rows):
        if row["note"] == "as above":
            row["note"] = before["note"]
    runs = [_yardstick(row) for row in rows if row["run"] in YARDSTICKS]
    return tuple(sorted(runs, key=lambda run: -run.mwh))


def flights(t_co2e: float) -> float:
    """Convert t CO2e to economy seats London to New York, one way."""
    return t_co2e / FLIGHT_T_CO2E


def _yardstick(row: dict[str, str]) -> Yardstick:
    hours = float(row["accelerator_hours"]) if row["accelerator_hours"] else None
    derived = not row["energy_mwh"]
    mwh = (hours or 0.0) * BOARD_WATTS[row["accelerator"]] / 1e6 if derived else float(row["energy_mwh"])
    return Yardstick(
        run=row["run"],
        parameters=float(row["parameters"]),
        tokens=float(row["tokens"]),
        accelerator=row["accelerator"],
        accelerator_hours=hours,
        mwh=mwh,
        derived=derived,
        t_co2e=float(row["t_co2e"]) if row["t_co2e"] else None,
        source=row["source"],
        url=_url(row["source"]),
        note=row["note"],
    )


def _url(source: str) -> str:
    first = source.split()[0]
    return f"https://arxiv.org/abs/{first.removeprefix('arXiv:')}" if first.startswith("arXiv:") else ""


@functools.cache
def _grids() -> dict[str, Grid]:
    rows = _read("grid_intensity.csv")
    return {
        r["iso3"]: Grid(r["iso3"], r["country"], int(r["year"]), float(r["g_co2e_per_kwh"])) for r in rows
    }


def _read(name: str) -> list[dict[str, str]]:
    text = files("tinsmith.meter").joinpath("facts", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
