"""Find connected components of pairs on the engine: alternating stars (Kiveris et al. 2014)."""

from __future__ import annotations

from tinsmith.corpus.engine import DataFrame, col, when

_FINGERPRINT = 2_147_483_647


def find_roots(pairs: DataFrame) -> DataFrame:
    """Return each number of the pairs (`a`, `b`) as `row`, with the smallest number of its component as `root`.

    Each round joins the neighbours of each number to the smallest of them, first larger, then smaller ones. When
    nothing changes, only stars are left. That takes about log2 rounds of a component's size.
    """
    edges = _down(pairs).distinct().collect()
    before = None
    while (now := _fingerprint(edges)) != before:
        before = now
        edges = _small_star(_large_star(edges)).collect()
    leaves = edges.select(col("high").alias("row"), col("low").alias("root"))
    centres = edges.select(col("low").alias("row"), col("low").alias("root")).distinct()
    return leaves.concat(centres)


def _down(pairs: DataFrame) -> DataFrame:
    """Return pairs as (high, low), without loops."""
    down = pairs.where(col("a") > col("b")).select(col("a").alias("high"), col("b").alias("low"))
    up = pairs.where(col("a") < col("b")).select(col("b").alias("high"), col("a").alias("low"))
    return down.concat(up)


def _large_star(edges: DataFrame) -> DataFrame:
    """Join each number's larger neighbours to the smallest of its neighbours and itself."""
    ways = edges.select(col("high").alias("node"), col("low").alias("near")).concat(
        edges.select(col("low").alias("node"), col("high").alias("near"))
    )
    least = ways.groupby("node").agg(col("near").min().alias("least"))
    least = least.select(
        "node", when(col("least") < col("node"), col("least")).otherwise(col("node")).alias("low")
    )
    joined = ways.join(least, on="node").where(col("near") > col("node"))
    return joined.select(col("near").alias("high"), "low").distinct()


def _small_star(edges: DataFrame) -> DataFrame:
    """Join each number and its smaller neighbours to the smallest of these."""
    least = edges.groupby("high").agg(col("low").min().alias("least"))
    joined = edges.join(least, on="high")
    inner = joined.where(col("low") != col("least")).select(
        col("low").alias("high"), col("least").alias("low")
    )
    centres = least.select("high", col("least").alias("low"))
    return inner.concat(centres).distinct()


def _fingerprint(edges: DataFrame) -> tuple[int, int, int]:
    """Return a hash of a set of edges; two sets share it by chance once in two thousand million."""
    mixed = (col("high") * 31 + col("low") * 1_000_003) % _FINGERPRINT
    sums = edges.agg(
        col("high").count().alias("n"), col("low").sum().alias("low"), mixed.sum().alias("mixed")
    )
    row = sums.to_pydict()
    return int(row["n"][0] or 0), int(row["low"][0] or 0), int(row["mixed"][0] or 0)
