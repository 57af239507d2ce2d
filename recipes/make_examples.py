"""Make the examples of portfolio.toml and market_report.toml: `python recipes/make_examples.py`, the same every time.

All clients, markets and figures are invented. A portfolio follows the rule of `portfolio`, so that one can see what a
model learnt of it; a market report says only what its table holds.
"""

import csv
import json
import random
import sys
from pathlib import Path

ROWS = 700
SEED = 2031

# Percent of the house's mix in equities, bonds and property by risk profile; cash is the rest.
MIXES = {
    "cautious": (20, 50, 10),
    "moderate": (30, 45, 15),
    "balanced": (45, 35, 15),
    "growth": (60, 20, 15),
    "bold": (75, 10, 10),
}
CLASSES = ("equities", "bonds", "property")
HORIZONS = (1, 2, 3, 5, 8, 10, 15, 20)
SHORT = 3  # years, up to which a client's equities are lower
TILT = 10  # points that go from the class with the lowest expected return to that with the highest

MONTHS = "January February March April May June July August September October November December".split()
INDICES = ("Norden 40", "Alpina All-Share", "Harbour 100", "Delta Composite", "Meridian 50", "Capital Select")
SECTORS = ("Energy", "Banks", "Utilities", "Technology", "Health", "Retail", "Chemicals", "Transport")
ROSE, FELL = ("rose", "gained", "climbed"), ("fell", "lost", "slipped")


def portfolio(row: dict) -> dict[str, int]:
    """Return the weights of a client, in percent, by the rule that the examples follow.

    The house's mix of the risk profile; for a short horizon 10 points of equities become bonds; 10 points go from the
    class with the lowest expected return to that with the highest; an excluded class gets nothing; no class gets more
    than its limit; what is left is cash.
    """
    weights = dict(zip(CLASSES, MIXES[row["risk"]], strict=True))
    if row["years"] <= SHORT:
        weights["equities"] -= 10
        weights["bonds"] += 10
    allowed = [name for name in CLASSES if name != row["excluded"]]
    low = min(allowed, key=lambda name: row[f"return_{name}"])
    high = max(allowed, key=lambda name: row[f"return_{name}"])
    moved = min(TILT, weights[low])
    weights[low] -= moved
    weights[high] += moved
    for name in CLASSES:
        weights[name] = 0 if name == row["excluded"] else min(weights[name], row[f"max_{name}"])
    return weights | {"cash": 100 - sum(weights.values())}


def clients(rng: random.Random) -> list[dict]:
    """Return clients with their limits, the house's view, and the weights."""
    rows = []
    for number in range(1, ROWS + 1):
        row = {
            "client": number,
            "risk": rng.choice(list(MIXES)),
            "years": rng.choice(HORIZONS),
            "excluded": rng.choice(("none", "none", *CLASSES)),
            "max_equities": rng.choice((25, 40, 50, 60, 80)),
            "max_bonds": rng.choice((30, 40, 50, 60)),
            "max_property": rng.choice((10, 15, 20, 25)),
        }
        returns = rng.sample(range(10, 90), len(CLASSES))  # tenths of a percent, no two alike
        row |= {f"return_{name}": tenths / 10 for name, tenths in zip(CLASSES, returns, strict=True)}
        rows.append(row | {"answer": json.dumps({"weights": portfolio(row)})})
    return rows


def report(row: dict, sectors: dict[str, float], rng: random.Random) -> str:
    """Return a paragraph on a month: the index, the best and the worst sector, and one or two other figures."""
    change = row["change"]
    verb = rng.choice(ROSE if change > 0 else FELL)
    first = rng.choice(
        (
            f"The {row['index']} {verb} {abs(change)}% in {row['month']} and closed at {row['close']}.",
            f"In {row['month']} the {row['index']} {verb} {abs(change)}% to {row['close']}.",
            f"At {row['close']} at the end of {row['month']}, the {row['index']} {verb} {abs(change)}%.",
        )
    )
    best, worst = max(sectors, key=sectors.get), min(sectors, key=sectors.get)
    high, low = f"{sectors[best]:+.1f}%", f"{sectors[worst]:+.1f}%"
    second = rng.choice(
        (
            f"{best} led with {high}, {worst} came last with {low}.",
            f"The best sector was {best} ({high}), the weakest {worst} ({low}).",
            f"{worst} was at the bottom with {low}, while {best} stood at the top with {high}.",
        )
    )
    third = rng.choice(
        (
            f"The 10-year yield ended at {row['yield']}%.",
            f"Oil traded at {row['oil']} dollars at the month's end.",
            f"The 10-year yield stood at {row['yield']}% and oil at {row['oil']} dollars.",
        )
    )
    return f"{first} {second} {third}"


def markets(rng: random.Random) -> list[dict]:
    """Return months of invented markets: the figures, and a paragraph that uses no others."""
    rows = []
    for _ in range(ROWS):
        changes = rng.sample([tenths for tenths in range(-90, 91) if tenths], 5)
        names = rng.sample(SECTORS, 4)
        sectors = {name: tenths / 10 for name, tenths in zip(names, changes[1:], strict=True)}
        row = {
            "index": rng.choice(INDICES),
            "month": f"{rng.choice(MONTHS)} {rng.randint(2024, 2033)}",
            "close": f"{rng.randint(8_000, 199_999) / 10:,.1f}",
            "change": changes[0] / 10,
            "sectors": ", ".join(f"{name} {value:+.1f}" for name, value in sectors.items()),
            "yield": f"{rng.randint(80, 620) / 100:.2f}",
            "oil": f"{rng.randint(350, 1_290) / 10:.1f}",
        }
        rows.append(row | {"report": report(row, sectors, rng)})
    return rows


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("portfolio", clients), ("market_report", markets)):
        rows = make(random.Random(SEED))
        with open(folder / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "examples")
