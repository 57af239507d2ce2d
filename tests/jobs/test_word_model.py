"""The word model: it says what scikit-learn's pipeline says, keeps no word of one example alone, and is read back."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

from tinsmith.base.errors import BundleError
from tinsmith.jobs.spec import Calibration, Job, read_job
from tinsmith.jobs.word_model import FILE, STRENGTH, WordModel, fit_words, read_words
from tinsmith.recipe import JobConfig

LABELS = ("cut", "hold", "rise")
WORDS = {"cut": "lower easing weak", "hold": "steady patient unchanged", "rise": "higher firm inflation"}


def planted(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Return texts that mostly hold a word of their label, and the labels."""
    draw = random.Random(seed)
    answers = [draw.choice(LABELS) for _ in range(count)]
    said = [draw.choice(LABELS) if draw.random() < 0.1 else answer for answer in answers]
    common = ["the", "Committee", "expects", "that", "rates", "will", "be"]
    return [
        " ".join([*draw.sample(common, 5), draw.choice(WORDS[word].split()), f"No{n}"])
        for n, word in enumerate(said)
    ], answers


def test_it_says_what_scikit_learn_says() -> None:
    learn, asked = planted(300, 1), planted(50, 2)
    fitted = fit_words(LABELS, learn, ([], []), seed=0)
    assert fitted is not None
    model, told = fitted
    assert told.shape == (0, 3)
    tfidf = partial(TfidfVectorizer, min_df=2, sublinear_tf=True)
    words = tfidf(ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    parts = tfidf(analyzer="char_wb", ngram_range=(3, 5))
    plain = make_pipeline(make_union(words, parts), LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3))
    plain.fit(*learn)
    ours = np.array([list(model.log_p(text).values()) for text in asked[0]])
    assert np.exp(ours) == pytest.approx(plain.predict_proba(asked[0]), abs=2e-3)
    assert np.exp(ours).sum(axis=1) == pytest.approx(np.ones(50))
    likeliest = [max(row, key=row.__getitem__) for row in map(model.log_p, asked[0])]
    assert np.mean([a == b for a, b in zip(likeliest, asked[1], strict=True)]) > 0.8


def test_no_word_of_one_example_alone_is_kept() -> None:
    (model, _) = fit_words(LABELS, planted(300, 1), planted(60, 7), seed=0) or pytest.fail(
        "nothing was learnt"
    )
    assert "inflation" in model.terms
    assert "~infl" in model.terms
    assert not [term for term in model.terms if "no1" in term and not term.startswith("~")]


def test_validation_rows_are_told_by_a_model_that_did_not_learn_from_them() -> None:
    learn, asked = planted(60, 1), planted(40, 2)
    noise = (asked[0], [LABELS[place % 3] for place in range(40)])  # labels that no word tells
    honest, _ = fit_words(LABELS, learn, ([], []), seed=0)
    both, told = fit_words(LABELS, learn, noise, seed=0)

    def agreeing(model: WordModel) -> float:
        known = np.array([list(model.log_p(text).values()) for text in asked[0]])
        return float(np.mean(known.argmax(axis=1) == told.argmax(axis=1)))

    assert agreeing(honest) > 0.8 > 0.7 > agreeing(both)


def test_a_label_without_examples_is_unlikely_and_two_labels_are_told_apart() -> None:
    texts, answers = planted(200, 1)
    some = [(text, answer) for text, answer in zip(texts, answers, strict=True) if answer != "hold"]
    model, _ = fit_words(LABELS, tuple(map(list, zip(*some, strict=True))), ([], []), seed=0)
    told = model.log_p("rates will be higher")
    assert told["rise"] > told["cut"] > told["hold"]
    assert np.exp(told["hold"]) < 1e-6


@pytest.mark.parametrize("texts", [["a b", "c d"], ["", ""], ["same words", "same words"]])
def test_nothing_to_tell_apart(texts: list[str]) -> None:
    assert fit_words(LABELS, (texts, ["cut", "cut"]), ([], []), seed=0) is None or "same" in texts[0]
    learnt = fit_words(LABELS, (texts, ["cut", "rise"]), ([], []), seed=0)
    assert learnt is None or texts[0] == "same words"


def test_a_job_is_read_back_with_its_word_model(tmp_path: Path) -> None:
    model, _ = fit_words(LABELS, planted(100, 1), ([], []), seed=0)
    config = JobConfig(name="stance", kind="classify", answer="{stance}")
    job = Job(config=config, labels=LABELS, calibration=Calibration(word_weight=2.0), words=model)
    job.write(tmp_path)
    assert "inflation" not in (tmp_path / "job.json").read_text()
    assert read_job(tmp_path).words == model
    assert WordModel.model_validate_json((tmp_path / FILE).read_bytes()) == model
    # Where it does not count, it is still there: a rival's answers may depend on it.
    job.model_copy(update={"calibration": Calibration()}).write(tmp_path)
    assert read_job(tmp_path).words == model
    (tmp_path / FILE).unlink()
    assert read_job(tmp_path).words is None


@pytest.mark.parametrize("damage", ["", "{", '{"labels": ["cut"], "bias": [0.0]}', None])
def test_a_damaged_word_model_is_refused(tmp_path: Path, damage: str | None) -> None:
    config = JobConfig(name="stance", kind="classify", answer="{stance}")
    Job(config=config, labels=LABELS, calibration=Calibration(word_weight=2.0)).write(tmp_path)
    if damage is not None:
        (tmp_path / FILE).write_text(damage)
    with pytest.raises(BundleError, match=FILE) as caught:
        read_job(tmp_path)
    assert ("is missing" if damage is None else "cannot be read") in str(caught.value)


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"labels": ["a", "b"], "bias": [0, 0], "terms": {"x": [1.0, 2.0]}}')
    with pytest.raises(BundleError, match="cannot be read"):
        read_words(tmp_path)
