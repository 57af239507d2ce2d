"""Each baseline of a job on a small planted set, where words, or hidden states, give the label away."""

import random

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tinsmith.evaluate import job_baselines as module
from tinsmith.evaluate.job_baselines import JOB_BASELINES, JobData
from tinsmith.evaluate.job_encoder import fine_tuned

LABELS = ("dovish", "hawkish", "neutral")
WORDS = {"dovish": "cut lower ease", "hawkish": "raise higher tighten", "neutral": "wait report meet"}
BASELINES = {baseline.name: baseline for baseline in JOB_BASELINES}


def _rows(count, seed, noise=0.0):
    draw = random.Random(seed)
    for n in range(count):
        label = LABELS[n % 3] if n % 4 else "neutral"
        words = [draw.choice(f"{WORDS[label]} the bank rates".split()) for _ in range(8)]
        words.append(draw.choice(WORDS[label].split()))
        yield {"input": " ".join(words), "answer": draw.choice(LABELS) if draw.random() < noise else label}


@pytest.fixture(scope="module")
def data():
    learn, validation, test = (list(_rows(count, seed)) for seed, count in enumerate((60, 18, 30)))
    states = {
        name: np.array(
            [[*(label == row["answer"] for label in LABELS), n % 7] for n, row in enumerate(rows)], "f4"
        )
        for name, rows in (("learn", learn), ("validation", validation), ("test", test))
    }
    return JobData(LABELS, False, learn, validation, test, states)


def _right(data, guesses):
    return np.mean([guess.answer == row["answer"] for guess, row in zip(guesses, data.test, strict=True)])


def test_the_commonest_answer_is_given_always(data):
    guesses = BASELINES["majority"].guess(data)
    assert {guess.answer for guess in guesses} == {"neutral"}
    assert guesses[0].log_p is None


@pytest.mark.parametrize("name", ["tfidf", "naive_bayes", "hidden_states"])
def test_a_linear_model_finds_what_was_planted_and_says_how_sure_it_is(data, name):
    guesses = BASELINES[name].guess(data)
    assert _right(data, guesses) > 0.9
    for guess in guesses:
        assert max(guess.log_p, key=guess.log_p.get) == guess.answer
        assert sum(np.exp(list(guess.log_p.values()))) == pytest.approx(1.0, abs=1e-3)


def test_settings_are_chosen_on_validation_rows_and_not_on_the_test(data, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "tinsmith.evaluate.job_baselines._rank",
        lambda data, model, features, true: asked.append(len(true)) or (0.0, 0.0),
    )
    BASELINES["naive_bayes"].guess(data)
    # Of equal values the first is taken, and what stands beyond it is tried once.
    assert asked == [18] * 12


@pytest.mark.parametrize(("peak", "tried"), [(4.0, 3), (16.0, 4), (100.0, 5), (1e9, 7), (0.2, 5)])
def test_a_setting_at_the_edge_of_what_is_tried_is_sought_beyond_it(data, monkeypatch, peak, tried):
    asked = []

    def rank(data, model, features, true):
        asked.append(model.C)
        return (-abs(np.log(model.C / peak)), 0.0)

    monkeypatch.setattr("tinsmith.evaluate.job_baselines._rank", rank)
    fitted = []
    whole = module.LogisticRegression.fit
    monkeypatch.setattr(
        module.LogisticRegression, "fit", lambda self, *given: fitted.append(self.C) or whole(self, *given)
    )
    BASELINES["tfidf"].guess(data)
    assert len(asked) == 2 * tried
    assert len(set(asked)) == tried
    # The last fit is that of the best, on all examples.
    assert fitted[-1] == min(asked, key=lambda strength: abs(np.log(strength / peak)))


def test_several_labels_at_once(data):
    def tagged(rows):
        for n, row in enumerate(rows):
            tags, words = (["bank"], " zulu zulu") if n % 3 else ([], "")
            yield {"input": row["input"] + words, "answer": [row["answer"], *tags]}

    labels = (*LABELS, "bank")
    many = JobData(labels, True, *(list(tagged(rows)) for rows in (data.learn, data.validation, data.test)))
    for name in ("tfidf", "naive_bayes"):
        guesses = BASELINES[name].guess(many)
        exact = np.mean(
            [set(g.answer) == set(row["answer"]) for g, row in zip(guesses, many.test, strict=True)]
        )
        assert exact > 0.7, name
    assert BASELINES["majority"].guess(many)[0].answer == ["neutral", "bank"]


def test_a_tiny_encoder_learns_too(data, tmp_path, monkeypatch):
    monkeypatch.setattr("tinsmith.evaluate.job_encoder.RATE", 5e-3)
    words = sorted({word for row in (*data.learn, *data.test) for word in row["input"].split()})
    backend = Tokenizer(
        WordLevel({word: n for n, word in enumerate(["[PAD]", "[UNK]", *words])}, unk_token="[UNK]")
    )
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        tmp_path
    )
    small = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=len(words) + 2, **small)).save_pretrained(tmp_path)
    guesses = fine_tuned(data, tmp_path, seconds=60, seed=3)
    assert _right(data, guesses) > 0.6
    again = fine_tuned(data, tmp_path, seconds=60, seed=3)
    assert [guess.log_p for guess in again] == [guess.log_p for guess in guesses]
