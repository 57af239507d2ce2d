"""Compare the texts of a family of proposed duplicates, and decide which are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tinsmith.corpus.dedup.signatures import Sketches, estimate, jaccard
from tinsmith.corpus.text.words import Hashes


class Member(NamedTuple):
    """A text of a family, with what decides whether it is kept."""

    row: int
    doc_id: str
    characters: int
    replaced: int  # of them U+FFFD: bytes that could not be decoded
    passing: bool
    version: str


class Decision(NamedTuple):
    """The cluster of a text, and the doc_id of the text that is kept instead of it (empty if it is kept itself)."""

    row: int
    cluster: str
    kept: str


class Similarities(Protocol):
    """A measure of the similarity of pairs."""

    def reach(self, threshold: float) -> Callable[[int, int], bool]:
        """Return a function of two members: whether their similarity reaches a threshold."""


class TrueSimilarities:
    """The true Jaccard index of pairs, computed on demand and once."""

    def __init__(self, sets: Mapping[int, Hashes]) -> None:
        self.sets = sets
        self.known: dict[tuple[int, int], float] = {}

    def reach(self, threshold: float) -> Callable[[int, int], bool]:
        """Return a function of two members: whether their Jaccard index reaches a threshold."""

        def similar(a: int, b: int) -> bool:
            pair = (a, b) if a < b else (b, a)
            small, large = sorted((len(self.sets[a]), len(self.sets[b])))
            if small < threshold * large:  # too different in size
                return False
            if pair not in self.known:
                self.known[pair] = jaccard(self.sets[a], self.sets[b])
            return self.known[pair] >= threshold

        return similar


class EstimatedSimilarities:
    """The Jaccard index estimated from sketches, for families whose texts do not fit into memory."""

    def __init__(self, sketches: Sketches) -> None:
        self.sketches = sketches

    def reach(self, threshold: float) -> Callable[[int, int], bool]:
        """Return a function of two members: whether their estimate reaches a threshold."""
        return lambda a, b: bool(estimate(self.sketches[[a]], self.sketches[[b]])[0] >= threshold)


def decide(
    members: Sequence[Member],
    pairs: Iterable[tuple[int, int]],
    similarities: Similarities,
    thresholds: tuple[float, float],
    *,
    newest: bool,
) -> list[Decision]:
    """Return a decision for each member, given proposed pairs of indices in `members`.

    Members are in order of doc_id. `thresholds` are the Jaccard indices of a cluster and of a near-duplicate (1 is
    off). Dropped members belong to clusters too, but only passing ones are kept instead of others.
    """
    cluster_jaccard, near_jaccard = thresholds
    pairs = list(pairs)
    clusters = find_components(range(len(members)), pairs, similarities.reach(cluster_jaccard))
    kept: dict[int, int] = {}
    if near_jaccard < 1:
        similar = similarities.reach(near_jaccard)
        passing = [index for index, member in enumerate(members) if member.passing]
        # A damaged copy may be the longer one.
        order = sorted(passing, key=lambda index: (members[index].replaced, -members[index].characters))
        if newest:
            order.sort(key=lambda index: members[index].version, reverse=True)
        kept = choose_kept(find_components(passing, pairs, similar), order, similar)
    return [
        Decision(
            member.row,
            members[clusters[index]].doc_id,
            members[kept[index]].doc_id if kept.get(index, index) != index else "",
        )
        for index, member in enumerate(members)
    ]


def find_components(
    indices: Iterable[int], pairs: Iterable[tuple[int, int]], similar: Callable[[int, int], bool]
) -> dict[int, int]:
    """Return the smallest index of each index's component, linking the proposed pairs that are similar.

    Members already in one component are not compared again, so that a large family costs little more than its size.
    """
    parent = {index: index for index in indices}

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for a, b in pairs:
        if a in parent and b in parent:
            first, second = sorted((root(a), root(b)))
            if first != second and similar(a, b):
                parent[second] = first
    return {index: root(index) for index in parent}


def choose_kept(
    components: Mapping[int, int], order: Iterable[int], similar: Callable[[int, int], bool]
) -> dict[int, int]:
    """Return for each index the one that is kept instead of it, or itself if it is kept.

    In each component the first in `order` is kept for all similar to it, then the first of the rest, and so on. So a
    chain of small steps never removes a text that is similar to no kept one.
    """
    leaders: dict[int, list[int]] = {}
    kept: dict[int, int] = {}
    for index in order:
        earlier = leaders.setdefault(components[index], [])
        kept[index] = next((leader for leader in earlier if similar(leader, index)), index)
        if kept[index] == index:
            earlier.append(index)
    return kept
