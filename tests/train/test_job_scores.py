"""Probabilities of labels and answers, against plain forward passes; and the loss that is made of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import tinsmith.train.job_scores as scores_module
from plain_references import sharp_gemma2
from tinsmith.base.errors import RecipeError
from tinsmith.jobs.answer_set import write_answers
from tinsmith.jobs.asks import Ask, prompt_of
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.prompt import answer_ids
from tinsmith.model.attention import use_stock_attention
from tinsmith.tokens.batches import Batches
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.job_scores import (
    answer_scores,
    greedy_answer,
    label_scores,
    path_scores,
    prior_scores,
)
from tinsmith.train.objectives.answer import Answer, Choices
from tiny_jobs import LABELS, job, rows
from tiny_model import tiny_model, tiny_tokenizer

JOB, TOKENIZER, ROWS = job(), tiny_tokenizer(), rows(12)


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def model(request: pytest.FixtureRequest):
    plain = sharp_gemma2(0, size=400) if request.param == "gemma2" else tiny_model()
    with torch.no_grad():
        plain.get_output_embeddings().weight.mul_(0.3)  # so that no label is hopeless
    return plain


@pytest.fixture(scope="module")
def tree() -> LabelTree:
    return LabelTree.of(TOKENIZER, LABELS)


@pytest.fixture
def answers(tree: LabelTree, tmp_path: Path):
    return write_answers(tmp_path / "answers", JOB, ROWS, TOKENIZER, tree, seed=3)


@torch.no_grad()
def plain_scores(model, prompt: list[int], tree: LabelTree) -> list[float]:
    """Return ln p of each label by one forward pass for each branch."""
    use_stock_attention(model)
    logits = []
    for branch in tree.branches:
        last = model(input_ids=torch.tensor([[*prompt, *branch.prefix]])).logits[0, -1]
        logits.append(last[list(branch.tokens)].tolist())
    return list(tree.log_probabilities(logits).values())


def test_labels_part_at_several_places(tree: LabelTree) -> None:
    assert len(tree.branches) > 1


def test_scores_of_labels_are_those_of_plain_passes(model, tree, answers, monkeypatch) -> None:
    monkeypatch.setattr(scores_module, "LEAST_REACH", 0.0)
    expected = [plain_scores(model, answers.prompt(number), tree) for number in range(len(answers))]
    isolate_sequences(model)
    found = label_scores(model, answers, Choices(tree))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0)
    # Branches that are hardly reached cost no pass, and change hardly anything.
    monkeypatch.setattr(scores_module, "LEAST_REACH", 0.05)
    rough = label_scores(model, answers, Choices(tree))
    np.testing.assert_allclose(np.exp(rough), np.exp(found), atol=0.05)


def test_a_look_reads_the_path_of_the_right_label_alone(model, tree, answers, monkeypatch) -> None:
    monkeypatch.setattr(scores_module, "LEAST_REACH", 0.0)
    isolate_sequences(model)
    whole = label_scores(model, answers, Choices(tree))
    monkeypatch.setattr(scores_module, "_read_branches", None)
    scores, chosen = path_scores(model, answers, Choices(tree))
    truth = [LABELS.index(ask.answer or "") for ask in answers.asks]
    rows = np.arange(len(truth))
    np.testing.assert_allclose(scores[rows, truth], whole[rows, truth], atol=1e-5)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0)
    # It is chosen where a reader that takes the first choice at each branch ends there.
    for number, (values, right) in enumerate(zip(whole, chosen, strict=True)):
        path, paths = (), list(tree.paths.values())
        while path not in paths:
            mass = {}
            for label, value in zip(tree.paths.values(), values, strict=True):
                if label[: len(path)] == path:
                    mass[label[: len(path) + 1]] = mass.get(label[: len(path) + 1], 0.0) + math.exp(value)
            path = max(mass, key=mass.__getitem__)
        assert right == (paths.index(path) == truth[number])


def test_the_prior_is_read_after_an_empty_input(model, tree) -> None:
    prompt = prompt_of(JOB, TOKENIZER, Ask("", JOB.config.asked)).ids
    expected = plain_scores(model, list(prompt), tree)
    isolate_sequences(model)
    np.testing.assert_allclose(prior_scores(model, prompt, Choices(tree)), expected, atol=1e-4)


def test_the_loss_is_minus_ln_p_of_labels_one_target_an_example(model, tree, answers) -> None:
    scores = [plain_scores(model, answers.prompt(number), tree) for number in range(len(answers))]
    labels = [LABELS.index(ask.answer or "") for ask in answers.asks]
    isolate_sequences(model)
    choices = Choices(tree)
    objective = Answer(answers, choices, None)
    (batch,) = Batches(answers.tokens, batch_tokens=10_000, micro_rows=20, seed=1).step(0)
    loss, _ = objective.loss(model, batch)
    assert objective.num_targets(batch) == len(ROWS)
    assert float(loss.detach()) == pytest.approx(
        -sum(row[label] for row, label in zip(scores, labels, strict=True)), rel=1e-4
    )
    for number, reading in objective.readings.items():
        assert reading.probability == pytest.approx(math.exp(scores[number][labels[number]]), rel=1e-3)
        assert (reading.guess == LABELS[labels[number]]) or reading.guess_probability > 0
    # Nothing but the tokens at branches is learnt: the loss has no gradient for other rows of the output layer.
    untied = tiny_model(tied=False)
    isolate_sequences(untied)
    objective.loss(untied, batch)[0].backward()
    moved = untied.lm_head.weight.grad.abs().sum(dim=1).nonzero()[:, 0].tolist()
    assert moved == choices.tokens


def test_logits_of_labels_are_not_rounded_where_the_rest_is(model, tree) -> None:
    choices = Choices(tree)
    width = model.get_input_embeddings().weight.shape[1]
    hidden = 30 * torch.randn(4, width, generator=torch.Generator().manual_seed(1))
    branches = [0] * len(hidden)
    with torch.no_grad():
        plain = choices.log_probs(model, hidden, branches)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = choices.log_probs(model, hidden, branches)
    assert torch.equal(plain, rounded)


def test_generated_answers_are_scored_token_by_token(model, tmp_path: Path) -> None:
    written = job(kind="write")
    answers = write_answers(tmp_path / "answers", written, ROWS, TOKENIZER, None, seed=3)
    isolate_sequences(model)
    none = answer_ids(TOKENIZER, "none")[0]
    scored = answer_scores(model, answers, none)
    totals, exact = scored.log_probabilities, scored.exact
    (batch,) = Batches(answers.tokens, batch_tokens=10_000, micro_rows=20, seed=1).step(0)
    loss, _ = Answer(answers, None, None).loss(model, batch)
    assert float(loss.detach()) == pytest.approx(-totals.sum(), rel=1e-4)
    assert Answer(answers, None, None).num_targets(batch) == int(answers.tokens.marks.sum())
    use_stock_attention(model)
    for number in range(3):
        ids = [*answers.prompt(number), *answer_ids(TOKENIZER, answers.asks[number].answer)]
        logits = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        start = len(answers.prompt(number))
        plain = sum(float(logits[place - 1, ids[place]]) for place in range(start, len(ids)))
        assert totals[number] == pytest.approx(plain, rel=1e-3)
        assert scored.none[number] == pytest.approx(float(logits[start - 1, none].exp()), rel=1e-3)
        assert exact[number] == all(
            int(logits[place - 1].argmax()) == ids[place] for place in range(start, len(ids))
        )
    stop = answer_ids(TOKENIZER, "x")[-1]
    ids = answers.prompt(0)
    written, log_probability = greedy_answer(model, ids, 4, stop)
    plain = 0.0
    for _ in range(4):
        row = model(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        ids = [*ids, int(row.argmax())]
        plain += float(row.max())
        if ids[-1] == stop:
            break
    assert log_probability == pytest.approx(plain, rel=1e-3)
    assert written == ids[len(answers.prompt(0)) :]


def test_inputs_are_cut_and_answers_that_do_not_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    long = [{**ROWS[0], "input": "up " * 200, "answer": text} for text in ("word", "word " * 100)]
    answers = write_answers(tmp_path / "answers", job(kind="write"), long, TOKENIZER, None, seed=3)
    assert (answers.cut_answers, answers.rows, answers.prompt_lengths) == (1, (0,), (32,))
    # What is learnt has its end.
    assert answers.tokens.sequence(0)[0].tolist()[32:] == list(answer_ids(TOKENIZER, "word"))
    with pytest.raises(RecipeError, match="none of 1 answers fits into the context of 64 tokens"):
        write_answers(tmp_path / "answers", job(kind="write"), long[1:], TOKENIZER, None, seed=3)
