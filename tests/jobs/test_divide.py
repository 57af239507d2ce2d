"""Parts are divided by group, and take no label's last example."""

from collections import Counter

import pytest

from tinsmith.jobs.divide import choose_groups


@pytest.mark.parametrize("seed", range(5))
def test_no_part_takes_the_last_example_of_a_label(seed):
    labels = [*"aaaabbbbcc", *"dddd"]
    # All of d stand in one group with some of a; of c each has a group of its own.
    groups = [f"g{number}" for number in range(8)] + ["c1", "c2"] + ["d"] * 4
    chosen = choose_groups(groups, [[label] for label in labels], lambda count: count - 0.1, seed, "test")
    left = Counter(label for label, group in zip(labels, groups, strict=True) if group not in chosen)
    assert left.keys() == set("abcd")
    assert chosen


def test_where_every_group_is_the_last_of_a_label_the_smallest_is_chosen():
    assert choose_groups(["x", "x", "y"], [["a"], ["a"], ["b"]], lambda count: count, 1, "test") == {"y"}
