"""How a job's scores become confidence: temperature, prior and threshold, and how good the confidence is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinsmith.jobs.spec import Calibration, Job
from tinsmith.recipe import JobConfig

Floats = NDArray[np.float64]

BINS = 10  # of equal numbers of answers
NOTHING_IS_SURE = 1.01  # a least confidence above every confidence: all answers go to a person
_LEAST = 1e-12  # of a probability whose logarithm is taken
_LEAST_VALUES = 10  # written values that odds of their own are fitted to
_WORTH_IT = 0.01  # nats of loss, which the prior must save to count
WORD_WEIGHTS = tuple(2.0**power for power in np.arange(-3, 5.5, 0.5).tolist())
_LOG_TEMPERATURES = np.linspace(math.log(0.1), math.log(10.0), 401)


def confidence(job: Job, log_probabilities: Mapping[str, float], text: str) -> dict[str, float]:
    """Return the calibrated probability of each label from its ln p and the input's text; they sum to 1."""
    if not job.calibration.word_weight:
        return calibrated_shares(job.calibration, log_probabilities, dict.fromkeys(log_probabilities, 0.0))
    assert job.words is not None
    return calibrated_shares(job.calibration, log_probabilities, job.words.log_p(text))


def calibrated_shares(
    fitted: Calibration, log_probabilities: Mapping[str, float], words: Mapping[str, float]
) -> dict[str, float]:
    """Return the calibrated probability of each label from its ln p and ln p by the word model."""
    scores = np.array(
        [
            value - fitted.prior_weight * fitted.prior.get(label, 0.0) + fitted.word_weight * words[label]
            for label, value in log_probabilities.items()
        ]
    )
    shares = np.exp(_log_softmax(scores / fitted.temperature)).tolist()
    return dict(zip(log_probabilities, shares, strict=True))


def answer_confidence(job: Job, probability: float, *, value: bool = False) -> float:
    """Return the calibrated confidence in a generated answer from the probability of all its tokens together.

    A written `value` has a curve of its own: it is long, so the product says less of it than of "none".
    """
    told = np.array([math.log(min(1.0, max(probability, _LEAST)))])
    return float(_answer_shares(job.calibration, told, np.array([value]))[0])


def _answer_shares(fitted: Calibration, log_probabilities: Floats, values: NDArray[np.bool_]) -> Floats:
    """Return calibrated confidences (N,) from ln p (N,) of answers and whether each is a value (N,)."""
    shares: Floats = np.exp(log_probabilities / fitted.temperature)
    if fitted.value_odds is None:
        return shares
    slope, offset = fitted.value_odds
    return np.where(values, 1 / (1 + np.exp(-(slope * log_probabilities + offset))), shares)


def needs_a_person(job: Job, sure: float | None) -> bool:
    """Say whether an answer of this confidence is withheld, because `ask_a_person` asks for surer ones.

    An answer without a confidence is not.
    """
    return sure is not None and sure < job.calibration.least_confidence


def fit_temperature(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the temperature with the least mean negative log-likelihood of `truth` (N,) under `scores` (N, L).

    Temperatures far from 1 count as less likely beforehand (a normal distribution of ln T with a spread of 1), so that
    a few answers that are all right do not make the model certain.
    """
    values, right = np.asarray(scores, dtype=float), np.asarray(truth, dtype=int)
    losses = [
        negative_log_likelihood(values / math.exp(log), right) + log * log / (2 * len(right))
        for log in _LOG_TEMPERATURES
    ]
    return float(math.exp(_LOG_TEMPERATURES[int(np.argmin(losses))]))


def negative_log_likelihood(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean of -ln p of `truth` (N,) under the softmax of `scores` (N, L), in nats."""
    values, right = np.asarray(scores, dtype=float), np.asarray(truth, dtype=int)
    return float(-_log_softmax(values)[np.arange(len(right)), right].mean())


def calibrated_loss(scores: ArrayLike, truth: ArrayLike) -> float:
    """Return the mean negative log-likelihood at the best temperature: how well scores rank, however bold they are."""
    return negative_log_likelihood(np.asarray(scores, dtype=float) / fit_temperature(scores, truth), truth)


def fit_labels(
    labels: tuple[str, ...],
    scores: ArrayLike,
    truth: ArrayLike,
    prior: ArrayLike,
    *,
    words: ArrayLike | None = None,
    share_right: float = 0.0,
) -> tuple[Calibration, list[str]]:
    """Fit temperature, prior, word weight and least confidence to the ln p `scores` (N, L) of validation rows.

    `prior` (L,) is ln p of the labels without any input, `words` (N, L) is ln p by a word model. The prior counts only
    where that lowers the loss by more than a hundredth of a nat. Returns notes on what could not be reached.
    """
    values, right = np.asarray(scores, dtype=float), np.asarray(truth, dtype=int)
    before = np.asarray(prior, dtype=float)
    known = {"prior": dict(zip(labels, before.tolist(), strict=True))}
    if not len(right):
        return Calibration(**known), ["there are no validation rows, so confidence is not calibrated"]
    plain, without = calibrated_loss(values, right), calibrated_loss(values - before, right)
    weight = 1.0 if without < plain - _WORTH_IT else 0.0
    shifted = values - weight * before
    word_weight = 0.0 if words is None else fit_word_weight(shifted, words, right)
    if words is not None:
        shifted = shifted + word_weight * np.asarray(words, dtype=float)
    temperature = fit_temperature(shifted, right)
    sure = np.exp(_log_softmax(shifted / temperature))
    least, notes = least_confidence(sure.max(axis=1), sure.argmax(axis=1) == right, share_right)
    fitted = {"temperature": temperature, "prior_weight": weight, "word_weight": word_weight}
    return Calibration(**fitted, least_confidence=least, **known), notes


def fit_word_weight(scores: ArrayLike, words: ArrayLike, truth: ArrayLike) -> float:
    """Return the weight of ln p by a word model (N, L) beside `scores` (N, L) with the least loss of `truth` (N,).

    It is 0 unless the loss is lower by more than one parameter explains by chance (Akaike 1974).
    """
    values, told = np.asarray(scores, dtype=float), np.asarray(words, dtype=float)
    losses = {weight: calibrated_loss(values + weight * told, truth) for weight in (0.0, *WORD_WEIGHTS)}
    best = min(losses, key=losses.__getitem__)
    return best if losses[best] < losses[0.0] - 1 / len(told) else 0.0


def fit_answers(
    log_probabilities: ArrayLike,
    correct: ArrayLike,
    *,
    values: ArrayLike | None = None,
    share_right: float = 0.0,
) -> tuple[Calibration, Floats, list[str]]:
    """Fit temperature, odds of values and least confidence to generated validation answers.

    Takes their ln p (N,), how right each is (N,), 0 to 1, and whether it is a value (N,) rather than "none"; without
    `values`, or with too few of them, one temperature serves all. Returns their confidences (N,) and notes too.
    """
    told, right = (np.asarray(given, dtype=float) for given in (log_probabilities, correct))
    told = np.clip(told, math.log(_LEAST), -1e-6)
    if not len(right):
        return Calibration(), told, ["there are no validation rows, so confidence is not calibrated"]
    wrote = np.zeros(len(right), dtype=bool) if values is None else np.asarray(values, dtype=bool)
    odds = _fit_odds(told[wrote], right[wrote]) if wrote.sum() >= _LEAST_VALUES else None
    others = ~wrote if odds else np.ones(len(right), dtype=bool)
    fitted = Calibration(
        temperature=_fit_answer_temperature(told[others], right[others]) if others.any() else 1.0,
        value_odds=odds,
    )
    sure = _answer_shares(fitted, told, wrote)
    least, notes = least_confidence(sure, right, share_right)
    return fitted.model_copy(update={"least_confidence": least}), sure, notes


def _fit_answer_temperature(told: Floats, right: Floats) -> float:
    def loss(log: float) -> float:
        scaled = told / math.exp(log)
        wrong = np.log(-np.expm1(scaled))
        return float(-(right * scaled + (1 - right) * wrong).mean() + log * log / (2 * len(right)))

    return float(math.exp(_LOG_TEMPERATURES[int(np.argmin([loss(log) for log in _LOG_TEMPERATURES]))]))


def _fit_odds(told: Floats, right: Floats) -> tuple[float, float]:
    """Return slope and offset of a logistic regression of how right values are on their ln p (after Platt 1999).

    Where the likelier ones are not the better ones, all have the mean.
    """
    from sklearn.linear_model import LogisticRegression

    if 0 < right.sum() < len(right):
        answers = np.concatenate([np.ones(len(right)), np.zeros(len(right))])
        weights = np.concatenate([right, 1 - right])
        fitted = LogisticRegression(C=1.0, max_iter=1000).fit(np.tile(told, 2)[:, None], answers, weights)
        if fitted.coef_[0, 0] > 0:
            return round(float(fitted.coef_[0, 0]), 6), round(float(fitted.intercept_[0]), 6)
    share = (right.sum() + 1) / (len(right) + 2)
    return 0.0, round(math.log(share / (1 - share)), 6)


def as_answered(
    config: JobConfig,
    written: Sequence[float],
    right: ArrayLike,
    none: ArrayLike,
    absent: ArrayLike,
    says_none: ArrayLike,
) -> tuple[list[float], Floats]:
    """Return ln of the confidence with which asks are answered, and how right that is (N,), 0 to 1, as at run time.

    `written` are ln p of what the model writes to the first asks, `right` (N,) how right that is, `none` (N,) the
    probability of "none", `absent` (N,) whether "none" is right, `says_none` (N,) whether it is said. Kinds extract and
    answer are as sure of "none" as it is likely, and of a value by its own ln p and that there is one.

    One difference is left: here nothing holds the model to the spans of its text. Where it writes something else, the
    grammar at run time has it write a span, which is less likely and as wrong.
    """
    graded, chances = np.asarray(right, dtype=float), np.asarray(none, dtype=float)
    if config.kind not in ("extract", "answer"):
        return list(written), graded
    says, is_none = np.asarray(says_none, dtype=bool), np.asarray(absent, dtype=bool)
    told = [
        math.log(chance) if nothing else value + math.log(max(1 - chance, _LEAST))
        for value, chance, nothing in zip(written, chances.tolist(), says.tolist())
    ]
    return told, np.where(says, is_none, np.where(is_none, 0.0, graded))


def least_confidence(sure: ArrayLike, correct: ArrayLike, share_right: float) -> tuple[float, list[str]]:
    """Return the least confidence above which answers are right at `share_right`, and a note where none is.

    Of all such thresholds, the one that gives the most answers. 0 gives all answers.
    """
    if not share_right:
        return 0.0, []
    curve = share_curve(sure, correct)
    enough = [point for point in curve if point.right >= share_right]
    if not enough:
        best = max((point.right for point in curve), default=0.0)
        return NOTHING_IS_SURE, [
            f"ask_a_person = {share_right:g} was not reached on the validation rows, where even the surest answers are "
            f"right at {best:.2f}: every answer goes to a person"
        ]
    last = enough[-1]
    return (0.0 if last.answered == 1.0 else last.least), []


@dataclass(frozen=True)
class SharePoint:
    """With only answers of at least this confidence given: the share that is answered, and the share right of it."""

    least: float
    answered: float
    right: float


def share_curve(sure: ArrayLike, correct: ArrayLike) -> list[SharePoint]:
    """Return the share answered against the share right, one point for each different confidence, surest first."""
    values, right = np.asarray(sure, dtype=float), np.asarray(correct, dtype=float)
    order = np.argsort(-values, kind="stable")
    ranked, cumulated = values[order], np.cumsum(right[order])
    ends = [
        place for place in range(len(ranked)) if place + 1 == len(ranked) or ranked[place + 1] < ranked[place]
    ]
    return [
        SharePoint(float(ranked[end]), (end + 1) / len(ranked), float(cumulated[end] / (end + 1)))
        for end in ends
    ]


@dataclass(frozen=True)
class Bin:
    """Some answers of similar confidence: how many, their mean confidence, and the share of them that is right."""

    answers: int
    confidence: float
    right: float


def reliability(sure: ArrayLike, correct: ArrayLike, bins: int = BINS) -> list[Bin]:
    """Return bins of (nearly) equal numbers of answers, from the least sure to the surest."""
    values, right = np.asarray(sure, dtype=float), np.asarray(correct, dtype=float)
    parts = np.array_split(np.argsort(values, kind="stable"), min(bins, len(values)) or 1)
    return [
        Bin(len(part), float(values[part].mean()), float(right[part].mean())) for part in parts if len(part)
    ]


def expected_calibration_error(sure: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Return the mean distance of confidence and share right over bins of equal numbers of answers (Naeini 2015)."""
    found = reliability(sure, correct, bins)
    total = sum(part.answers for part in found)
    return math.fsum(part.answers * abs(part.confidence - part.right) for part in found) / max(1, total)


def error_by_chance(sure: ArrayLike, bins: int = BINS, *, seed: int = 0, draws: int = 200) -> float:
    """Return the calibration error that answers of these confidences show on average if all are exactly right as often.

    With few answers in a bin this is well above zero: no model can be expected below it.
    """
    values = np.asarray(sure, dtype=float)
    generator = np.random.default_rng(seed)
    return float(
        np.mean(
            [
                expected_calibration_error(values, generator.random(len(values)) < values, bins)
                for _ in range(draws if len(values) else 0)
            ]
            or [0.0]
        )
    )


def _log_softmax(scores: Any) -> Floats:
    shifted = scores - scores.max(axis=-1, keepdims=True)
    normal: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normal
