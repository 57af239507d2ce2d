import itertools
import random
from pathlib import Path

import pyarrow as pa
import pytest

from tinsmith.corpus.dedup import (
    Similarities,
    choose_banding,
    choose_kept,
    find_buckets,
    find_components,
    jaccard,
    shingle_sets,
)
from tinsmith.corpus.engine import from_arrow
from tinsmith.corpus.text import fold

ARTICLES = Path(__file__).parents[2] / ".." / "shared" / "data" / "minhash-neardup" / "data"


def proposed(folded: list[str], threshold: float, seed: int = 7) -> set[tuple[int, int]]:
    frame = from_arrow(pa.table({"row": range(len(folded)), "folded": folded}))
    buckets = find_buckets(frame, choose_banding(threshold), seed)
    return {pair for bucket in buckets for pair in itertools.combinations(bucket, 2)}


def plain_jaccard(a: str, b: str) -> float:
    """The definition, over sets of tuples, with no hashing."""
    sets = [set(zip(*(text.split()[k:] for k in range(5)))) for text in (a, b)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def twins(generator: random.Random, changes: int) -> tuple[str, str]:
    """A text of 200 words and its copy with some words changed, as far from one another as may be."""
    words = [f"w{generator.randrange(10**6)}" for _ in range(200)]
    copy = list(words)
    for change in range(changes):
        copy[5 + change * 190 // changes] = f"x{generator.randrange(10**6)}"
    return " ".join(words), " ".join(copy)


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
def test_banding_finds_pairs_at_the_threshold_within_its_budget(threshold: float):
    banding = choose_banding(threshold)
    assert banding.probability(threshold) > 0.99
    assert banding.bands * banding.rows <= 512
    # One row more would cost more hashes than allowed: pairs far below are proposed as seldom as can be.
    assert banding.probability(threshold / 4) < 0.9


def test_banding_of_the_defaults():
    assert choose_banding(0.5) == (72, 4)
    assert choose_banding(0.7) == (54, 7)


def test_planted_pairs_are_proposed_and_verified():
    generator = random.Random(3)
    pairs = [twins(generator, changes) for changes in [9] * 100 + [13] * 100 + [60] * 100]
    folded = [text for pair in pairs for text in pair]
    truth = [plain_jaccard(*pair) for pair in pairs]
    found = proposed(folded, 0.5)
    near = [number for number, index in enumerate(truth) if index >= 0.5]
    assert 150 <= len(near) <= 250
    recall = sum((2 * number, 2 * number + 1) in found for number in near) / len(near)
    assert recall >= 0.985
    similar = Similarities(dict(enumerate(shingle_sets(folded)))).reach(0.5)
    verified = {pair for pair in found if similar(*pair)}
    assert verified == {(2 * number, 2 * number + 1) for number in near} & found


def test_real_articles_agree_with_brute_force():
    if not ARTICLES.is_dir():
        pytest.skip("shared/data/minhash-neardup is not here")
    lines = (ARTICLES / "articles_1000.train").read_text("utf-8").splitlines()
    names = [line.split()[0] for line in lines]
    folded = [" ".join(fold(line.partition(" ")[2])) for line in lines]
    sets = shingle_sets(folded)
    holders: dict[int, list[int]] = {}
    for row, shingles in enumerate(sets):
        for shingle in shingles.tolist():
            holders.setdefault(shingle, []).append(row)
    candidates = {pair for rows in holders.values() for pair in itertools.combinations(rows, 2)}
    brute = {(a, b) for a, b in candidates if jaccard(sets[a], sets[b]) >= 0.5}
    similar = Similarities(dict(enumerate(sets))).reach(0.5)
    assert {pair for pair in proposed(folded, 0.5) if similar(*pair)} == brute
    truth = [line.split() for line in (ARTICLES / "articles_1000.truth").read_text("utf-8").splitlines()]
    assert {frozenset(pair) for pair in truth} == {frozenset(names[row] for row in pair) for pair in brute}


def test_jaccard_is_the_definition():
    generator = random.Random(1)
    for _ in range(50):
        a, b = (" ".join(generator.choices("abc", k=generator.randrange(5, 60))) for _ in range(2))
        assert jaccard(*shingle_sets([a, b])) == pytest.approx(plain_jaccard(a, b))


def test_pairs_are_verified_by_the_true_index():
    texts = dict(enumerate(shingle_sets(["a b c d e f g h i j k l", "a b c d e f g h x y z w"])))
    similarities = Similarities(texts)  # 4 shared shingles of 12
    assert similarities.reach(1 / 3)(0, 1)
    assert similarities.reach(1 / 3)(1, 0)
    assert not similarities.reach(0.34)(0, 1)
    assert not Similarities(texts).reach(0.34)(0, 1)


def test_short_and_empty_texts():
    empty, also_empty, short, same, other = shingle_sets(
        ["", "", "all rights reserved", "all rights reserved", "all rights"]
    )
    assert jaccard(empty, also_empty) == 0
    assert jaccard(short, same) == 1
    assert jaccard(short, other) == 0
    assert proposed(["", "", "all rights reserved", "all rights reserved", "all rights"], 0.5) == {(2, 3)}


def test_components_follow_chains_and_are_named_by_their_smallest():
    links = {(1, 2), (2, 4), (0, 5)}
    found = find_components(range(6), [[1, 2, 4], [0, 5], [3, 4]], lambda a, b: (a, b) in links)
    assert found == {0: 0, 1: 1, 2: 1, 3: 3, 4: 1, 5: 0}


def test_components_leave_out_rows_that_are_not_asked_for():
    assert find_components([0, 2], [[0, 1], [1, 2]], lambda a, b: True) == {0: 0, 2: 2}


def test_a_family_is_compared_about_as_often_as_it_is_big():
    calls = []
    find_components(range(200), [list(range(200))] * 5, lambda a, b: calls.append((a, b)) or True)
    assert len(calls) == 199


def test_the_longest_stays_and_stands_only_for_what_resembles_it():
    # A chain 0 - 1 - 2: the ends do not resemble each other.
    links = {(0, 1), (1, 2)}
    components = {0: 0, 1: 0, 2: 0, 3: 3}

    def similar(a: int, b: int) -> bool:
        return (min(a, b), max(a, b)) in links

    assert choose_kept(components, [9, 5, 7, 1], similar) == {0: 0, 1: 0, 2: 2, 3: 3}
    assert choose_kept(components, [5, 9, 7, 1], similar) == {0: 1, 1: 1, 2: 1, 3: 3}
    assert choose_kept({0: 0, 1: 0}, [5, 5], similar) == {0: 0, 1: 0}  # ties: the first
