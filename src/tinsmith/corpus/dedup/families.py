"""The true resemblance within a family of proposed texts, and which of them stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from tinsmith.corpus.dedup.signatures import Sketches, estimate, jaccard
from tinsmith.corpus.text.words import Hashes


class Member(NamedTuple):
    """A text of a family: what decides which stays."""

    row: int
    doc_id: str
    characters: int
    passing: bool
    version: str


class Decision(NamedTuple):
    """What was found for a text: its cluster, and the doc_id of the text kept in its stead (empty: none is)."""

    row: int
    cluster: str
    kept: str


class Similarities(Protocol):
    """The resemblance of pairs."""

    def reach(self, threshold: float) -> Callable[[int, int], bool]:
        """Return the function that says whether two members reach a threshold."""


class TrueSimilarities:
    """The true Jaccard index of pairs, each computed once and only when asked for."""

    def __init__(self, sets: Mapping[int, Hashes]) -> None:
        self.sets = sets
        self.known: dict[tuple[int, int], float] = {}

    def reach(self, threshold: float) -> Callable[[int, int], bool]:
        """Return the function that says whether two members reach a threshold."""

        def similar(a: int, b: int) -> bool:
            pair = (a, b) if a < b else (b, a)
            small, large = sorted((len(self.sets[a]), len(self.sets[b])))
            if small < threshold * large:  # so different in size that they cannot
                return False
            if pair not in self.known:
                self.known[pair] = jaccard(self.sets[a], self.sets[b])
            return self.known[pair] >= threshold

        return similar


class EstimatedSimilarities:
    """The Jaccard index as sketches estimate it, for families whose texts do not fit into memory."""

    def __init__(self, sketches: Sketches) -> None:
        self.sketches = sketches

    def reach(self, threshold: float) -> Callable[[int, int], bool]:
        """Return the function that says whether the estimate of two members reaches a threshold."""
        return lambda a, b: bool(estimate(self.sketches[[a]], self.sketches[[b]])[0] >= threshold)


def decide(
    members: Sequence[Member],
    pairs: Iterable[tuple[int, int]],
    similarities: Similarities,
    thresholds: tuple[float, float],
    *,
    newest: bool,
) -> list[Decision]:
    """Return what becomes of each member, given proposed pairs of places in `members`, in order of doc_id.

    `thresholds` are those of the cluster and of a near-duplicate (1 is off). Clusters are those of all members,
    dropped ones included; only passing ones stand for one another.
    """
    cluster_jaccard, near_jaccard = thresholds
    pairs = list(pairs)
    clusters = find_components(range(len(members)), pairs, similarities.reach(cluster_jaccard))
    kept: dict[int, int] = {}
    if near_jaccard < 1:
        similar = similarities.reach(near_jaccard)
        passing = [place for place, member in enumerate(members) if member.passing]
        order = sorted(passing, key=lambda place: -members[place].characters)
        if newest:
            order.sort(key=lambda place: members[place].version, reverse=True)
        kept = choose_kept(find_components(passing, pairs, similar), order, similar)
    return [
        Decision(
            member.row,
            members[clusters[place]].doc_id,
            members[kept[place]].doc_id if kept.get(place, place) != place else "",
        )
        for place, member in enumerate(members)
    ]


def find_components(
    places: Iterable[int], pairs: Iterable[tuple[int, int]], similar: Callable[[int, int], bool]
) -> dict[int, int]:
    """Return the smallest member of each place's component, where proposed pairs that are similar are linked.

    Places already in one component are not compared again, so a big family costs little more than its size.
    """
    parent = {place: place for place in places}

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = place = parent[parent[place]]
        return place

    for a, b in pairs:
        if a in parent and b in parent:
            first, second = sorted((root(a), root(b)))
            if first != second and similar(a, b):
                parent[second] = first
    return {place: root(place) for place in parent}


def choose_kept(
    components: Mapping[int, int], order: Iterable[int], similar: Callable[[int, int], bool]
) -> dict[int, int]:
    """Return, for each place, the one that is kept in its stead (itself, where it is kept).

    In each component the first in `order` stays and stands for those similar to it, then the first of the rest,
    and so on. A chain of small steps thus never removes a text that resembles nothing kept.
    """
    leaders: dict[int, list[int]] = {}
    kept: dict[int, int] = {}
    for place in order:
        before = leaders.setdefault(components[place], [])
        kept[place] = next((leader for leader in before if similar(leader, place)), place)
        if kept[place] == place:
            before.append(place)
    return kept
