import numpy as np
import pytest
from scipy.stats import binom

from tinsmith.base.errors import CorpusError
from tinsmith.evidence.bootstrap import (
    Bootstrap,
    Estimate,
    balanced,
    detectable,
    detectable_share,
    holm,
    mean_by_document,
    mean_over,
    only,
    overlap_slices,
    ratio,
    require_interval,
)


def _bootstrap(documents, seed=0, resamples=1000):
    return Bootstrap(documents, resamples=resamples, confidence=0.95, seed=seed)


def test_bits_per_byte_is_a_ratio_of_sums():
    estimate = _bootstrap(3).estimate(ratio([10, 20, 70], [10, 10, 100]))
    assert estimate.value == pytest.approx(100 / 120)
    assert estimate.low <= estimate.value <= estimate.high


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(5)
    covered = 0
    for trial in range(300):
        sizes = generator.integers(100, 3000, 60)
        bits = sizes * generator.normal(0.8, 0.2, 60)
        found = _bootstrap(60, seed=trial, resamples=300).estimate(ratio(bits, sizes))
        covered += found.low <= 0.8 <= found.high
    assert 0.88 <= covered / 300 <= 0.985


def test_pairing_makes_differences_narrow_and_equal_subjects_zero():
    generator = np.random.default_rng(1)
    sizes = generator.integers(100, 3000, 40).astype(float)
    hard = sizes * generator.normal(1.0, 0.3, 40)
    bootstrap = _bootstrap(40)
    a, b = ratio(hard, sizes), ratio(hard + 0.05 * sizes, sizes)
    difference = bootstrap.difference(a, b)
    assert difference.value == pytest.approx(-0.05)
    assert difference.high < -0.049
    alone = bootstrap.estimate(a)
    assert alone.high - alone.low > 0.05
    same = bootstrap.difference(a, a)
    assert (same.low, same.value, same.high) == (0, 0, 0)
    noise = bootstrap.difference(a, ratio(hard + sizes * generator.normal(0, 0.05, 40), sizes))
    assert noise.low < 0 < noise.high


def test_balanced_accuracy_weighs_classes_equally():
    answers = ["x"] * 8 + ["y"] * 2
    always_x = balanced([True] * 8 + [False] * 2, answers)
    assert _bootstrap(10).estimate(always_x).value == pytest.approx(0.5)
    weights = np.zeros((1, 10))
    weights[0, 0] = 3  # a draw without any y
    assert always_x(weights)[0] == pytest.approx(1.0)


def test_slices_split_at_the_median_and_restrict_statistics():
    slices = overlap_slices([0.0, 0.9, 0.1, 0.5])
    assert slices == {"overlap_low": [0, 2], "overlap_high": [1, 3]}
    assert overlap_slices([0.2] * 5) == {}
    statistic = only([1, 3], 4, ratio([1, 2, 3, 4], [1, 1, 1, 1]))
    assert _bootstrap(4).estimate(statistic).value == pytest.approx(3.0)


def test_too_wide_an_interval_says_how_many_documents_are_needed():
    estimate = Estimate(0.8, 0.7, 0.9)
    require_interval(estimate, documents=10, widest=0)
    require_interval(estimate, documents=10, widest=0.11)
    with pytest.raises(CorpusError, match=r"(?s)10 held-out documents.*±0\.100.*about 40 documents"):
        require_interval(estimate, documents=10, widest=0.05)


def test_an_interval_exactly_as_wide_as_asked_is_narrow_enough():
    estimate = Estimate(0.5, 0.25, 0.75)
    require_interval(estimate, documents=10, widest=0.25)
    with pytest.raises(CorpusError) as caught:
        require_interval(estimate, documents=10, widest=0.125)
    assert "about 40 documents" in caught.value.next_step
    assert require_interval(Estimate(0.5, -9.0, 9.0), documents=10, widest=0) is None


def test_the_interval_holds_the_confidence_and_the_error_is_the_spread_of_the_resamples():
    statistic = ratio([1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 1.0, 1.0])
    bootstrap = Bootstrap(4, resamples=500, confidence=0.8, seed=3)
    drawn = bootstrap.weights @ np.array([1.0, 2.0, 4.0, 8.0]) / 4
    found = bootstrap.estimate(statistic)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.1, 0.9])))
    assert found.error == pytest.approx(drawn.std())
    assert found.value == 3.75
    assert bootstrap.weights.shape == (500, 4)


def test_resamples_without_a_value_are_left_out_and_none_at_all_is_an_error():
    # A resample that never draws the second document divides by zero.
    found = _bootstrap(3).estimate(ratio([0, 1, 0], [0, 1, 0]))
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)
    with pytest.raises(CorpusError, match="no document can be scored"):
        _bootstrap(3).estimate(ratio([1, 1, 1], [0, 0, 0]))
    with pytest.raises(CorpusError, match="no document can be scored"):
        _bootstrap(2).estimate(lambda weights: np.full(len(weights), np.nan if len(weights) == 1 else 1.0))
    assert _bootstrap(2).estimate(ratio([3, 1], [1, 1])).value == 2.0


def test_one_document_gives_no_interval():
    with pytest.raises(CorpusError, match="no interval"):
        _bootstrap(1)


def test_the_seed_decides():
    statistic = ratio([1, 2, 3, 4], [1, 1, 1, 2])
    assert _bootstrap(4, seed=3).estimate(statistic) == _bootstrap(4, seed=3).estimate(statistic)
    assert _bootstrap(4, seed=3).estimate(statistic) != _bootstrap(4, seed=4, resamples=999).estimate(
        statistic
    )


def test_holm_adjusts_by_rank_and_never_falls():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_values_of_no_difference_are_uniform_and_of_a_clear_one_small():
    generator = np.random.default_rng(2)
    ones, values = np.ones(50), []
    for trial in range(300):
        found = _bootstrap(50, seed=trial, resamples=200).estimate(ratio(generator.normal(0, 1, 50), ones))
        values.append(found.p_value)
    assert 0.02 <= np.mean(np.array(values) < 0.05) <= 0.1
    assert Estimate(0.5, 0.4, 0.6, 0.05).p_value < 1e-20
    assert Estimate(0.0, 0.0, 0.0, 0.0).p_value == 1.0


@pytest.mark.parametrize("documents", [2, 5, 300])
def test_without_spread_the_p_value_is_that_of_the_sign_test(documents):
    ones = np.ones(documents)
    found = _bootstrap(documents).difference(ratio(0.7 * ones, ones), ratio(0.4 * ones, ones))
    assert (found.low, found.high) == pytest.approx((0.3, 0.3))
    assert found.p_value == 2.0 ** (1 - documents) > 0
    # Only the documents that a slice holds count.
    few = only(range(2), documents, ratio(ones, ones))
    assert _bootstrap(documents).estimate(few).p_value == 0.5
    assert Estimate(0.3, 0.3, 0.3).p_value == 1.0


def test_the_smallest_difference_is_seen_four_times_in_five():
    generator = np.random.default_rng(3)
    size = detectable(1 / np.sqrt(60), 0.95)
    seen = 0
    for trial in range(300):
        found = _bootstrap(60, seed=trial, resamples=200).estimate(
            ratio(generator.normal(size, 1, 60), np.ones(60))
        )
        seen += found.low > 0
    assert 0.72 <= seen / 300 <= 0.9


def test_an_estimate_says_what_could_have_been_detected():
    found = Estimate(-0.1, -0.2, 0.0, 0.05)
    assert found.detectable(0.95) == pytest.approx(0.05 * 2.8016, rel=1e-3)
    assert found.p_value == pytest.approx(0.0455, rel=1e-2)


def test_items_of_one_document_are_drawn_together():
    documents, values = ["b", "a", "b"], [1.0, 0.0, 0.0]
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])  # of b, which comes first, and of a
    assert mean_by_document(documents, values)(weights).tolist() == pytest.approx([1 / 2, 0.0, 1 / 3])
    given = mean_over({"a": 0, "b": 1}, documents, values)
    assert given(weights).tolist() == pytest.approx([0.0, 1 / 2, 1 / 3])
    # With sizes it is a ratio of sums, as bits per byte are.
    sized = mean_by_document(documents, values, [4.0, 1.0, 1.0])
    assert sized(weights).tolist() == pytest.approx([1 / 5, 0.0, 1 / 6])


def test_equal_sizes_give_equal_resamples_of_which_each_draws_so_many_documents():
    first, again = _bootstrap(7, seed=3), _bootstrap(7, seed=3)
    assert (first.weights == again.weights).all()
    assert (first.weights.sum(axis=1) == 7).all()


@pytest.mark.parametrize(
    ("items", "floor", "confidence"), [(12, 0.0, 0.95), (40, 0.0, 0.95), (40, 0.1, 0.9), (200, 0.02, 0.95)]
)
def test_the_detectable_share_is_that_of_the_binomial(items, floor, confidence):
    above = round(floor * items) + 1
    shown = [
        hits for hits in range(items + 1) if binom.sf(above - 1, items, hits / items) > (1 + confidence) / 2
    ]
    share = detectable_share(items, floor, confidence)
    assert binom.sf(min(shown) - 1, items, share) == pytest.approx(0.8, abs=2e-3)
    assert binom.sf(min(shown) - 1, items, share) >= 0.8 > binom.sf(min(shown) - 1, items, share - 2e-4)


def test_no_share_can_exceed_a_floor_of_one():
    assert detectable_share(40, 1.0, 0.95) is None
    assert detectable_share(0, 0.0, 0.95) is None
    assert detectable_share(1, 0.0, 0.95) == pytest.approx(0.8, abs=2e-4)
