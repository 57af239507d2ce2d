"""Signatures propose, components gather, the true Jaccard index decides; each beside its definition."""

import itertools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers import shared_data
from tinsmith.corpus.dedup.components import find_roots
from tinsmith.corpus.dedup.families import (
    EstimatedSimilarities,
    Member,
    TrueSimilarities,
    choose_kept,
    decide,
    find_components,
)
from tinsmith.corpus.dedup.proposals import ALL_PAIRS, SketchFile, bucket_pairs, keys_schema, propose
from tinsmith.corpus.dedup.signatures import (
    Signer,
    choose_banding,
    estimate,
    jaccard,
    shingle_set,
    sketch,
)
from tinsmith.corpus.dedup.versions import version_of
from tinsmith.corpus.engine import from_arrow
from tinsmith.corpus.text.words import fold


def proposed(folder: Path, texts: list[str], threshold: float, seed: int = 7) -> set[tuple[int, int]]:
    """Return the pairs that the engine proposes."""
    banding = choose_banding(threshold)
    signer = Signer(banding, seed)
    minima = [signer.sign(text) for text in texts]
    rows = [row for row, found in enumerate(minima) if found is not None]
    keys = np.array([signer.band_keys(minima[row]) for row in rows], np.uint64).reshape(len(rows), -1)
    table = pa.Table.from_arrays([pa.array(rows), *map(pa.array, keys.T)], schema=keys_schema(banding))
    pq.write_table(table, folder / "keys.parquet")
    pq.write_table(pa.table({"row": pa.array(rows, pa.int64())}), folder / "first.parquet")
    blank = np.zeros(banding.hashes, np.uint8)
    sketches = [blank if found is None else sketch(found) for found in minima]
    (folder / "sketches.bin").write_bytes(b"".join(each.tobytes() for each in sketches))
    files = propose(
        folder / "keys.parquet",
        folder / "first.parquet",
        SketchFile(folder / "sketches.bin", banding.hashes),
        banding,
        threshold,
        folder / "pairs",
        lambda count: None,
    )
    return {(a, b) for file in files for a, b in zip(*pq.read_table(file).to_pydict().values(), strict=True)}


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
    assert banding.hashes <= 512
    # One row more would cost more hashes than allowed: pairs far below are proposed as seldom as can be.
    assert banding.probability(threshold / 4) < 0.9


def test_banding_of_the_defaults():
    assert choose_banding(0.5) == (72, 4)
    assert choose_banding(0.7) == (54, 7)


def test_planted_pairs_are_proposed_and_verified(tmp_path: Path):
    generator = random.Random(3)
    pairs = [twins(generator, changes) for changes in [9] * 100 + [13] * 100 + [60] * 100]
    texts = [text for pair in pairs for text in pair]
    truth = [plain_jaccard(*pair) for pair in pairs]
    found = proposed(tmp_path, texts, 0.5)
    near = [number for number, index in enumerate(truth) if index >= 0.5]
    assert 150 <= len(near) <= 250
    recall = sum((2 * number, 2 * number + 1) in found for number in near) / len(near)
    assert recall >= 0.985
    similar = TrueSimilarities(dict(enumerate(map(shingle_set, texts)))).reach(0.5)
    verified = {pair for pair in found if similar(*pair)}
    assert verified == {(2 * number, 2 * number + 1) for number in near} & found


def test_real_articles_agree_with_brute_force(tmp_path: Path):
    data = shared_data("minhash-neardup") / "data"
    lines = (data / "articles_1000.train").read_text("utf-8").splitlines()
    names = [line.split()[0] for line in lines]
    texts = [" ".join(fold(line.partition(" ")[2])) for line in lines]
    sets = [shingle_set(text) for text in texts]
    holders: dict[int, list[int]] = {}
    for row, shingles in enumerate(sets):
        for shingle in shingles.tolist():
            holders.setdefault(shingle, []).append(row)
    candidates = {pair for rows in holders.values() for pair in itertools.combinations(rows, 2)}
    brute = {(a, b) for a, b in candidates if jaccard(sets[a], sets[b]) >= 0.5}
    similar = TrueSimilarities(dict(enumerate(sets))).reach(0.5)
    assert {pair for pair in proposed(tmp_path, texts, 0.5) if similar(*pair)} == brute
    truth = [line.split() for line in (data / "articles_1000.truth").read_text("utf-8").splitlines()]
    assert {frozenset(pair) for pair in truth} == {frozenset(names[row] for row in pair) for pair in brute}


def test_the_estimate_is_near_the_index():
    generator = random.Random(5)
    signer = Signer(choose_banding(0.5), 1)
    for changes in (0, 4, 9, 20):
        a, b = twins(generator, changes)
        guess = estimate(*(sketch(signer.sign(text))[None] for text in (a, b)))[0]
        assert guess == pytest.approx(plain_jaccard(a, b), abs=0.12)


def test_jaccard_is_the_definition():
    generator = random.Random(1)
    for _ in range(50):
        a, b = (" ".join(generator.choices("abc", k=generator.randrange(5, 60))) for _ in range(2))
        assert jaccard(shingle_set(a), shingle_set(b)) == pytest.approx(plain_jaccard(a, b))


def test_pairs_are_verified_by_the_true_index():
    sets = dict(enumerate(map(shingle_set, ["a b c d e f g h i j k l", "a b c d e f g h x y z w"])))
    similarities = TrueSimilarities(sets)  # 4 shared shingles of 12
    assert similarities.reach(1 / 3)(0, 1)
    assert similarities.reach(1 / 3)(1, 0)
    assert not similarities.reach(0.34)(0, 1)


def test_short_and_empty_texts(tmp_path: Path):
    texts = ["", " .", "all rights reserved", "All rights, reserved", "all rights"]
    empty, also_empty, short, same, other = map(shingle_set, texts)
    assert jaccard(empty, also_empty) == 0
    assert jaccard(short, same) == 1
    assert jaccard(short, other) == 0
    assert proposed(tmp_path, texts, 0.5) == {(2, 3)}


def test_a_full_bucket_is_compared_in_proportion_to_its_members():
    small, large = np.arange(ALL_PAIRS), np.arange(10_000)
    assert len(bucket_pairs(small)[0]) == ALL_PAIRS * (ALL_PAIRS - 1) // 2
    a, b = bucket_pairs(large)
    assert len(a) < 10 * len(large)
    assert (a < b).all()
    assert set(b.tolist()) == set(range(1, 10_000))  # every member is compared with the first, at least


def test_components_are_those_of_plain_python():
    generator = random.Random(9)
    edges = [(generator.randrange(300), generator.randrange(300)) for _ in range(200)]
    edges += [(n, n + 1) for n in range(400, 460)]  # a long chain
    pairs = sorted({(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]})
    frame = from_arrow(pa.table({"a": [a for a, _ in pairs], "b": [b for _, b in pairs]}))
    found = find_roots(frame).to_pydict()
    roots = dict(zip(found["row"], found["root"], strict=True))
    numbers = {number for pair in pairs for number in pair}
    assert roots == find_components(numbers, pairs, lambda a, b: True)


def test_components_follow_chains_and_are_named_by_their_smallest():
    links = {(1, 2), (2, 4), (0, 5)}
    pairs = [(1, 2), (1, 4), (2, 4), (0, 5), (3, 4)]
    found = find_components(range(6), pairs, lambda a, b: (a, b) in links)
    assert found == {0: 0, 1: 1, 2: 1, 3: 3, 4: 1, 5: 0}


def test_components_leave_out_places_that_are_not_asked_for():
    assert find_components([0, 2], [(0, 1), (1, 2)], lambda a, b: True) == {0: 0, 2: 2}


def test_a_family_is_compared_about_as_often_as_it_is_big():
    calls = []
    pairs = list(itertools.combinations(range(200), 2)) * 5
    find_components(range(200), pairs, lambda a, b: calls.append((a, b)) or True)
    assert len(calls) == 199


def test_the_first_in_order_stays_and_stands_only_for_what_resembles_it():
    links = {(0, 1), (1, 2)}  # a chain: the ends do not resemble each other
    components = {0: 0, 1: 0, 2: 0, 3: 3}

    def similar(a: int, b: int) -> bool:
        return (min(a, b), max(a, b)) in links

    assert choose_kept(components, [0, 2, 1, 3], similar) == {0: 0, 1: 0, 2: 2, 3: 3}
    assert choose_kept(components, [1, 2, 0, 3], similar) == {0: 1, 1: 1, 2: 1, 3: 3}


def member(row: int, text: str, version: str = "", passing: bool = True) -> Member:
    return Member(row, f"id{row}", len(text), text.count("\ufffd"), passing, version)


def test_the_longest_stays_or_the_newest_and_a_dropped_one_stands_for_nobody():
    texts = ["a b c d e f g h", "a b c d e f g h i", "a b c d e f g h i j"]
    sets = TrueSimilarities(dict(enumerate(map(shingle_set, texts))))
    members = [
        member(row, text, version) for row, (text, version) in enumerate(zip(texts, "231", strict=True))
    ]
    pairs = list(itertools.combinations(range(3), 2))
    longest = decide(members, pairs, sets, (0.5, 0.6), newest=False)
    assert [each.kept for each in longest] == ["id2", "id2", ""]
    assert {each.cluster for each in longest} == {"id0"}
    newest = decide(members, pairs, sets, (0.5, 0.6), newest=True)
    assert [each.kept for each in newest] == ["id1", "", "id1"]
    members[2] = member(2, texts[2], passing=False)
    assert [each.kept for each in decide(members, pairs, sets, (0.5, 0.6), newest=False)] == ["id1", "", ""]
    assert all(not each.kept for each in decide(members, pairs, sets, (0.5, 1.0), newest=False))


def test_a_damaged_copy_is_never_kept_instead_of_its_sound_one():
    texts = ["a b c d e f g h ü j", "a b c d e f g h \ufffd\ufffd j"]
    sets = TrueSimilarities(dict.fromkeys(range(2), shingle_set(texts[0])))
    members = [member(row, text) for row, text in enumerate(texts)]
    assert len(texts[1]) > len(texts[0])
    decisions = decide(members, [(0, 1)], sets, (0.5, 0.6), newest=False)
    assert [each.kept for each in decisions] == ["", "id0"]


def test_a_family_too_big_for_memory_is_judged_by_its_sketches():
    generator = random.Random(2)
    (a, b), (c, _) = twins(generator, 2), twins(generator, 2)
    signer = Signer(choose_banding(0.5), 1)
    similar = EstimatedSimilarities(np.array([sketch(signer.sign(text)) for text in (a, b, c)])).reach(0.7)
    assert similar(0, 1)
    assert not similar(0, 2)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("reg/2013-06861.xml", "reg/2013-10604.xml"),
        ("v2.9.txt", "v2.10.txt"),
        ("a_20210304.txt", "a_20211001.txt"),
        ("plain.txt", "plain-1.txt"),
    ],
)
def test_versions_sort_by_the_numbers_in_names(older: str, newer: str):
    assert version_of(older, "{}", "") < version_of(newer, "{}", "")


def test_versions_sort_by_a_field_where_it_is_named():
    assert version_of("9.txt", '{"date": "2012-01-02"}', "date") < version_of(
        "1.txt", '{"date": "2013-01-01"}', "date"
    )
    assert version_of("9.txt", "no json", "date") == ""
    assert version_of("9.txt", "{}", "date") == ""
