"""A second check, written plainly: the main figures again from the stored items, by numpy and nothing of ours.

The intervals are percentiles over resamples of documents, which numpy draws by the recipe's seed.
"""

import json
import math

import numpy as np
import pytest

from fixture_bundle import unpack


def _lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def recipe(bundle):
    return json.loads((bundle / "recipe.json").read_text())


@pytest.fixture(scope="module")
def stored(bundle):
    """Return the figures of metrics.json by subject and metric."""
    rows = json.loads((bundle / "data" / "metrics.json").read_text())["metrics"]
    return {
        (row["subject"], row["metric"]): (row["value"], row["low"], row["high"], row["items"]) for row in rows
    }


@pytest.fixture(scope="module")
def comparisons(bundle):
    rows = json.loads((bundle / "data" / "metrics.json").read_text())["comparisons"]
    return {(row["metric"], row["a"], row["b"]): row for row in rows}


@pytest.fixture(scope="module")
def weights(recipe):
    """Return a function that draws how often each of so many documents occurs: (resamples, documents)."""
    resamples, seed = recipe["evaluate"]["bootstrap"], recipe["seed"]

    def draw(count):
        return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)

    return draw


@pytest.fixture(scope="module")
def tails(recipe):
    tail = (1 - recipe["evaluate"]["confidence"]) / 2
    return [tail, 1 - tail]


def test_bits_per_byte_are_the_sum_of_bits_over_the_sum_of_bytes(bundle, stored, weights, tails):
    subjects = [subject for subject, metric in stored if metric == "bits_per_byte"]
    assert len(subjects) == 7
    for subject in subjects:
        rows = _lines(bundle / "items" / f"bits-{subject}.jsonl")
        bits, sizes = (np.array([row[field] for row in rows]) for field in ("bits", "bytes"))
        overlaps = np.array([row["overlap"] for row in rows])
        halves = {"": overlaps >= 0, ":overlap_low": overlaps <= np.median(overlaps)}
        halves[":overlap_high"] = ~halves[":overlap_low"]
        for name, chosen in halves.items():
            drawn = weights(len(rows)) * chosen
            with np.errstate(invalid="ignore"):
                resampled = (drawn @ bits) / (drawn @ sizes)
            value = bits[chosen].sum() / sizes[chosen].sum()
            expected = (value, *np.quantile(resampled[np.isfinite(resampled)], tails), chosen.sum())
            assert stored[subject, f"bits_per_byte{name}"] == pytest.approx(expected, rel=1e-9)


def test_a_difference_of_bits_per_byte_is_taken_on_the_same_resamples(bundle, comparisons, weights, tails):
    for other in ("base", "model-q8_0", "ngram", "compressor"):
        sides = []
        for subject in ("trained", other):
            rows = _lines(bundle / "items" / f"bits-{subject}.jsonl")
            bits, sizes = (np.array([row[field] for row in rows]) for field in ("bits", "bytes"))
            drawn = weights(len(rows))
            sides.append((bits.sum() / sizes.sum(), (drawn @ bits) / (drawn @ sizes)))
        (ours, our_draws), (theirs, their_draws) = sides
        error = np.std(our_draws - their_draws)
        row = comparisons["bits_per_byte", "trained", other]
        assert row["difference"] == pytest.approx(ours - theirs)
        assert [row["low"], row["high"]] == pytest.approx(np.quantile(our_draws - their_draws, tails))
        assert row["p"] == pytest.approx(
            math.erfc(abs(ours - theirs) / error / math.sqrt(2)), rel=1e-6, abs=1e-300
        )
        assert row["detectable"] == pytest.approx((1.959964 + 0.841621) * error, rel=1e-5)


def test_p_values_are_adjusted_by_holm_among_models_and_not_for_baselines(comparisons):
    baselines = {"compressor", "ngram", "majority", "tfidf", "length", "overlap", "unread"}
    rows = [row for row in comparisons.values() if row["b"] not in baselines]
    assert {"p_holm" in row for row in comparisons.values() if row["b"] in baselines} == {False}
    rows.sort(key=lambda row: row["p"])
    factors = np.arange(len(rows), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(factors * [row["p"] for row in rows]), 1)
    assert [row["p_holm"] for row in rows] == pytest.approx(adjusted)


def test_accuracy_and_balanced_accuracy_count_correct_answers(bundle, stored, weights, tails):
    names = sorted({key for key in stored if key[1].startswith(("accuracy:", "balanced_accuracy:"))})
    assert len(names) > 40
    for subject, metric in names:
        kind, task, shots = metric.split(":")
        rows = [row for row in _lines(bundle / "items" / f"exam-{subject}.jsonl") if row["task"] == task]
        if subject not in ("majority", "tfidf", "length", "overlap", "unread"):
            rows = [row for row in rows if f"{row['shots']}-shot" == shots]
        documents = list(dict.fromkeys(row["doc_id"] for row in rows))
        correct = np.array([[row["correct"] * (row["doc_id"] == name) for name in documents] for row in rows])
        asked = np.array([[float(row["doc_id"] == name) for name in documents] for row in rows])
        drawn = np.vstack([np.ones(len(documents)), weights(len(documents))])
        if kind == "accuracy":
            shares = (drawn @ correct.sum(axis=0)) / (drawn @ asked.sum(axis=0))
        else:
            recalls = np.full((len(drawn), len({row["answer"] for row in rows})), np.nan)
            for place, answer in enumerate(sorted({row["answer"] for row in rows})):
                mine = np.array([row["answer"] == answer for row in rows])
                hits, size = drawn @ correct[mine].sum(axis=0), drawn @ asked[mine].sum(axis=0)
                recalls[size > 0, place] = hits[size > 0] / size[size > 0]
            shares = np.nanmean(recalls, axis=1)
        expected = (shares[0], *np.quantile(shares[1:], tails), len(rows))
        assert stored[subject, metric] == pytest.approx(expected), (subject, metric)


def test_extraction_is_the_share_of_passages_repeated_word_for_word(bundle, stored, weights, tails):
    for subject in ("trained", "base"):
        rows = _lines(bundle / "items" / f"leakage-{subject}.jsonl")
        for part in ("train", "held_out"):
            said = np.array([row["extracted"] for row in rows if row["part"] == part], dtype=float)
            expected = (said.mean(), *np.quantile(weights(len(said)) @ said / len(said), tails), len(said))
            assert stored[subject, f"extracted:{part}"] == pytest.approx(expected)


def test_membership_counts_pairs_in_which_the_member_looks_more_familiar(bundle, stored, recipe, tails):
    base = {row["doc_id"]: row["nats"] for row in _lines(bundle / "items" / "leakage-base.jsonl")}
    attacks = {
        "loss": lambda row: -row["loss"],
        "zlib": lambda row: -row["zlib"],
        "min_k": lambda row: -row["min_k"],
        "base": lambda row: (base[row["doc_id"]] - row["nats"]) / row["bytes"],
    }
    for subject, attack in [
        (s, a) for s in ("trained", "base") for a in attacks if (s, a) != ("base", "base")
    ]:
        rows = _lines(bundle / "items" / f"leakage-{subject}.jsonl")
        members, others = (
            np.array([attacks[attack](row) for row in rows if row["part"] == part])
            for part in ("train", "held_out")
        )

        def area(left, right):
            pairs = np.subtract.outer(left, right)
            return (pairs > 0).mean() + (pairs == 0).mean() / 2

        # Of so few others, none may look more familiar than the threshold: the most familiar of them.
        def found(left, right):
            assert len(right) < 100
            return (left > right.max()).mean()

        draw = np.random.default_rng([recipe["seed"], 1])
        drawn = [
            (draw.choice(members, len(members)), draw.choice(others, len(others)))
            for _ in range(recipe["evaluate"]["bootstrap"])
        ]
        for name, statistic in (("membership_auc", area), ("membership_found", found)):
            low, high = np.quantile([statistic(*sides) for sides in drawn], tails)
            expected = (statistic(members, others), low, high, len(rows))
            assert stored[subject, f"{name}:{attack}"] == pytest.approx(expected), (subject, attack)


def test_exposure_is_the_mean_logarithm_of_ranks_among_secrets(bundle, stored, weights, tails):
    for subject in ("trained", "base"):
        rows = _lines(bundle / "items" / f"canaries-{subject}.jsonl")
        for planted in (0, 4):
            chosen = [row for row in rows if row["planted"] == planted and (row["seen"] > 0) == (planted > 0)]
            ranks = [1 + sum(other >= row["own"] for other in row["others"]) for row in chosen]
            bits = np.log2((1 + len(chosen[0]["others"])) / np.array(ranks))
            expected = (bits.mean(), *np.quantile(weights(len(bits)) @ bits / len(bits), tails), len(bits))
            assert stored[subject, f"exposure:{planted}"] == pytest.approx(expected)


def test_the_recommended_file_is_the_smallest_whose_loss_surely_stays_within(bundle, weights, tails):
    ladder = json.loads((bundle / "data" / "metrics.json").read_text())["ladder"]
    original = _lines(bundle / "items" / "bits-trained.jsonl")
    within = []
    for row in ladder["rows"]:
        rows = _lines(bundle / "items" / f"bits-{row['subject']}.jsonl")
        sizes = np.array([item["bytes"] for item in rows])
        more = np.array([a["bits"] - b["bits"] for a, b in zip(rows, original, strict=True)])
        drawn = weights(len(rows))
        low, high = np.quantile((drawn @ more) / (drawn @ sizes), tails)
        assert [row["loss"], row["low"], row["high"]] == pytest.approx(
            [more.sum() / sizes.sum(), low, high], abs=1e-12
        )
        if high <= ladder["max_loss"]:
            within.append((row["bytes"], row["format"]))
    assert ladder["recommended"] == min(within)[1]
