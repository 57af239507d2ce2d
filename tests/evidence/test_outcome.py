"""Better is what lies wholly on the better side of zero, whichever model is named first."""

import pytest

from tinsmith.evidence.outcome import BETTER, UNCLEAR, WORSE, decide, find_duels, worst
from tinsmith.evidence.schema import Comparison, Role, Subject

SUBJECTS = {
    name: Subject(subject=name, name=name, role=role)
    for name, role in (("trained", Role.OURS), ("trained-4bit", Role.OURS_QUANTISED), ("rival", Role.RIVAL))
}


@pytest.mark.parametrize(
    ("low", "high", "higher", "lower"),
    [
        (0.1, 0.2, BETTER, WORSE),
        (-0.2, -0.1, WORSE, BETTER),
        (-0.1, 0.1, UNCLEAR, UNCLEAR),
        (0, 0.2, UNCLEAR, UNCLEAR),
    ],
)
def test_the_interval_and_the_direction_decide(low, high, higher, lower):
    assert decide(low, high, higher_is_better=True) == higher
    assert decide(low, high, higher_is_better=False) == lower
    assert decide(low, high, higher_is_better=None) == UNCLEAR


def _comparison(a, b, difference=-0.2, low=-0.3, high=-0.1, **more):
    about = {"metric": "bits_per_byte", "higher_is_better": False, "unit": "bits/byte", "items": 9, **more}
    return Comparison(a=a, b=b, difference=difference, low=low, high=high, **about)


def test_a_comparison_the_other_way_round_means_the_same():
    (duel,) = find_duels([_comparison("trained", "rival", p_holm=0.01)], SUBJECTS, 0.95)
    turned = _comparison("rival", "trained", 0.2, 0.1, 0.3, p_holm=0.01)
    assert find_duels([turned], SUBJECTS, 0.95) == [duel]
    assert (duel.ours, duel.other, duel.role, duel.outcome) == ("trained", "rival", Role.RIVAL, BETTER)
    assert (duel.difference, duel.low, duel.high) == (-0.2, -0.3, -0.1)
    assert (duel.metric, duel.unit, duel.items) == ("bits_per_byte", "bits/byte", 9)


def test_between_two_of_ours_the_first_counts_and_others_are_left_out():
    found = find_duels([_comparison("trained-4bit", "trained"), _comparison("rival", "base")], SUBJECTS, 0.95)
    assert [(duel.ours, duel.other, duel.role) for duel in found] == [("trained-4bit", "trained", Role.OURS)]
    (api,) = find_duels([_comparison("trained", "api")], SUBJECTS, 0.95)
    assert api.role is Role.RIVAL


@pytest.mark.parametrize(
    ("p", "p_holm", "chance"),
    [
        (None, None, False),
        (0.01, 0.05, False),
        (0.01, 0.06, True),
        (0.06, None, True),  # a baseline's, which is not adjusted
        (0.04, None, False),
    ],
)
def test_what_may_be_chance_is_neither_better_nor_worse(p, p_holm, chance):
    gain = _comparison("trained", "rival", p=p, p_holm=p_holm)
    loss = _comparison("trained", "rival", 0.2, 0.1, 0.3, p=p, p_holm=p_holm)
    duels = find_duels([gain, loss], SUBJECTS, 0.95)
    assert [duel.outcome for duel in duels] == ([UNCLEAR, UNCLEAR] if chance else [BETTER, WORSE])
    assert [duel.by_chance for duel in duels] == [chance, chance]
    earlier = find_duels([gain, loss], SUBJECTS, 0.95, by_interval=True)
    assert [duel.outcome for duel in earlier] == [BETTER, WORSE]


def test_an_interval_around_zero_is_unclear_whatever_the_p_value():
    (duel,) = find_duels([_comparison("trained", "rival", low=-0.3, high=0.1, p_holm=0.9)], SUBJECTS, 0.95)
    assert (duel.outcome, duel.by_chance) == (UNCLEAR, False)


def test_the_worst_of_several_outcomes():
    duels = find_duels(
        [_comparison("trained", "rival"), _comparison("trained", "b", low=-0.3, high=0.1)], SUBJECTS, 0.95
    )
    assert worst(duels) == UNCLEAR
    assert worst(duels[:1]) == BETTER
    assert worst([]) == ""
