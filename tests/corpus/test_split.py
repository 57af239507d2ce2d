import itertools
import random

import pytest

from tinsmith.corpus.split import choose_held_out, find_shared_runs, hash_texts, measure_overlap, membership


def test_membership_is_spread_evenly_and_hangs_on_seed_and_id_alone():
    places = [membership(f"{number:032x}", 7) for number in range(4000)]
    assert all(0 <= place < 1 for place in places)
    assert sum(place < 0.1 for place in places) == pytest.approx(400, abs=80)
    assert membership("a", 7) == membership("a", 7) != membership("a", 8)


def test_a_fraction_is_of_the_clusters_and_does_not_move_with_the_rest():
    clusters = [f"c{number // 2}" for number in range(2000)]
    chosen = choose_held_out(clusters, 0.1, 7)
    assert len(chosen) == pytest.approx(100, abs=40)
    fewer = [cluster for cluster in clusters if hash(cluster) % 3]
    assert choose_held_out(fewer, 0.1, 7) == chosen & set(fewer)
    assert choose_held_out(clusters, 0.05, 7) < chosen


def test_a_count_is_reached_and_exceeded_by_less_than_a_tenth():
    generator = random.Random(5)
    clusters = [f"c{number}" for number in range(400) for _ in range(generator.choice([1, 1, 1, 2, 5, 9]))]
    for count in (1, 10, 50, 100):
        chosen = choose_held_out(clusters, count, 7)
        held_out = sum(cluster in chosen for cluster in clusters)
        assert count <= held_out < count + max(1, count / 10)


def test_a_count_leaves_big_families_to_training():
    clusters = ["family"] * 6 + [f"c{number}" for number in range(60)]
    seed = next(seed for seed in range(1000) if membership("family", seed) < 0.01)
    assert "family" not in choose_held_out(clusters, 50, seed)
    assert "family" in choose_held_out(clusters, 61, seed)


def test_a_count_may_be_more_than_there_is():
    assert choose_held_out(["a", "a", "b"], 10, 7) == {"b"}


def brute_overlap(text: str, training: list[str]) -> tuple[int, int, float]:
    words = text.split()
    n = min(13, len(words))
    grams = {tuple(other.split()[i : i + n]) for other in training for i in range(len(other.split()) - n + 1)}
    hits = [i for i in range(len(words) - n + 1) if tuple(words[i : i + n]) in grams] if n else []
    covered = {i + k for i in hits for k in range(n)}
    return len(covered), len(words), len(hits) / (len(words) - n + 1) if n else 0.0


def collage(generator: random.Random, source: list[str], pieces: int) -> str:
    """Pieces of a source among new words."""
    parts: list[str] = []
    for _ in range(pieces):
        start = generator.randrange(len(source))
        parts += source[start : start + generator.randrange(5, 40)]
        parts += [f"n{generator.randrange(10**6)}" for _ in range(generator.randrange(0, 9))]
    return " ".join(parts)


def test_overlap_agrees_with_brute_force():
    generator = random.Random(11)
    source = [f"s{generator.randrange(50)}" for _ in range(300)]
    training = [collage(generator, source, 6) for _ in range(20)]
    held_out = [collage(generator, source, 5) for _ in range(20)] + [
        "",
        "s1",
        " ".join(training[0].split()[3:9]),
    ]
    found = measure_overlap(hash_texts(held_out), hash_texts(training))
    for text, overlap in zip(held_out, found, strict=True):
        assert overlap == pytest.approx(brute_overlap(text, training))
    assert {overlap.share for overlap in found[:20]} != {0.0}
    assert found[-1].share == 1


def test_overlap_looks_through_case_and_punctuation():
    words = [f"word{number}" for number in range(30)]
    found = measure_overlap(hash_texts([" ".join(words)]), hash_texts([", ".join(words).upper()]))
    assert found == [(30, 30, 1.0)]
    assert measure_overlap(hash_texts([" ".join(words)]), []) == [(0, 30, 0.0)]


def longest_common_run(a: list[str], b: list[str]) -> int:
    best, row = 0, [0] * (len(b) + 1)
    for x in a:
        row = [0, *(row[j] + 1 if x == y else 0 for j, y in enumerate(b))]
        best = max(best, *row)
    return best


def patchwork(generator: random.Random, source: list[str]) -> list[str]:
    """Pieces of a source among new words, no word of it twice."""
    words: list[str] = []
    for start in generator.sample(range(0, len(source), 50), 5):
        offset = generator.randrange(20)
        words += source[start + offset : start + offset + generator.randrange(5, 30)]
        words += [f"n{generator.randrange(10**6)}" for _ in range(generator.randrange(0, 9))]
    return words


def all_shared_runs(
    held_out: list[list[str]], training: list[list[str]], least: int
) -> dict[tuple[int, int], int]:
    pairs = itertools.product(range(len(training)), range(len(held_out)))
    runs = {pair: longest_common_run(training[pair[0]], held_out[pair[1]]) for pair in pairs}
    return {pair: words for pair, words in runs.items() if words >= least}


def found_runs(
    held_out: list[list[str]], training: list[list[str]], least: int
) -> dict[tuple[int, int], int]:
    hashed = [hash_texts(" ".join(words) for words in part) for part in (held_out, training)]
    return {(run.training, run.held_out): run.words for run in find_shared_runs(*hashed, least)}


def test_shared_runs_agree_with_brute_force():
    generator = random.Random(13)
    source = [f"s{number}" for number in range(400)]
    training, held_out = ([patchwork(generator, source) for _ in range(20)] for _ in range(2))
    truth = all_shared_runs(held_out, training, 12)
    assert found_runs(held_out, training, 12) == truth
    assert len(set(truth.values())) > 5
    assert len(truth) < 400


def test_texts_that_repeat_themselves_are_named_all_the_same():
    generator = random.Random(17)
    training, held_out = ([generator.choices("ab", k=60) for _ in range(20)] for _ in range(2))
    truth = all_shared_runs(held_out, training, 9)
    found = found_runs(held_out, training, 9)
    assert set(found) == set(truth)
    assert all(found[pair] >= truth[pair] for pair in truth)


def test_a_run_just_too_short_is_not_named():
    shared = [f"s{number}" for number in range(50)]
    held_out = hash_texts([" ".join(["a", *shared, "b"])])
    assert find_shared_runs(held_out, hash_texts([" ".join(["c", *shared[1:], "d"])]), 50) == []
    assert find_shared_runs(held_out, hash_texts(["x", " ".join(["c", *shared, "d"])]), 50) == [(1, 0, 50)]
    assert find_shared_runs(hash_texts(["too short"]), hash_texts(["too short"]), 50) == []


def test_runs_end_at_a_gap_and_at_the_next_held_out_document():
    first, second = (
        [f"{name}{number}" for number in range(length)] for name, length in (("a", 50), ("b", 60))
    )
    two_runs = [[*first, "x", *second], [*first, "y", *second]]
    assert found_runs(two_runs[:1], two_runs[1:], 50) == {(0, 0): 60}
    # The second held-out document begins one word later than the first, so that its matches follow at once.
    words = second[:51]
    assert found_runs([words[:50], words[1:]], [words], 50) == {(0, 0): 50, (0, 1): 50}
