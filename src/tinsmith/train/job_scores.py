"""What a model in training makes of the asks of a set: probabilities of labels, or of the right answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from tinsmith.jobs.answer_set import AnswerSet
from tinsmith.jobs.labels import LEAST_REACH
from tinsmith.model.lowered import lowered
from tinsmith.model.output_layer import output_layer
from tinsmith.tokens.batches import Batch, make_batch, pack
from tinsmith.train.attention import target_hidden
from tinsmith.train.chunked_loss import logit_rows
from tinsmith.train.lower_blocks import LowerStates
from tinsmith.train.objectives.answer import Choices

Floats = NDArray[np.float64]
_TOKENS_AT_ONCE = 2048


@torch.no_grad()
def label_scores(
    model: PreTrainedModel, answers: AnswerSet, choices: Choices, lower: LowerStates | None = None
) -> Floats:
    """Return ln p (N, L) of all labels for each ask, labels in the order of the tree. The model attends within
    sequences.

    A pass over each prompt, with its own label, gives the branches on the label's path. Other branches are read only
    where the model reaches them with a probability of `LEAST_REACH`.
    """
    known, above = _own_branches(model, answers, choices, lower), _ways_to(choices)
    while missing := [
        (number, branch)
        for number, found in enumerate(known)
        for branch, steps in enumerate(above)
        if branch not in found
        and all(step[0] in found for step in steps)
        and _reach(found, steps) >= LEAST_REACH
    ]:
        _read_branches(model, answers, choices, missing, known)
    return _all_labels(known, choices)


@torch.no_grad()
def path_scores(
    model: PreTrainedModel, answers: AnswerSet, choices: Choices, lower: LowerStates | None = None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return ln p (N, L) of all labels as far as the path of the right one tells, and whether that is chosen (N,).

    It costs a pass over each prompt with its own label, and no other branch is read: there all tokens count as equally
    likely. The right label is chosen where its token is the first choice at each branch of its path.
    """
    known = _own_branches(model, answers, choices, lower)
    chosen = [
        all(
            int(found[branch].argmax()) == choices.columns[branch][taken]
            for branch, taken in choices.tree.choices[ask.answer or ""]
        )
        for found, ask in zip(known, answers.asks, strict=True)
    ]
    return _all_labels(known, choices), np.array(chosen, dtype=bool)


def _own_branches(
    model: PreTrainedModel, answers: AnswerSet, choices: Choices, lower: LowerStates | None
) -> list[dict[int, Tensor]]:
    """Return for each ask ln p of the tokens at each branch on the path of its own label."""
    known: list[dict[int, Tensor]] = [{} for _ in range(len(answers))]
    for batch in _batches(answers, model.device):
        owners, branches, _ = choices.taken([answers.asks[number].answer or "" for number in batch.numbers])
        hidden = _hidden(model, batch, answers, lower)
        log_probs = choices.log_probs(model, hidden, branches).cpu().double()
        for place, branch, values in zip(owners, branches, log_probs, strict=True):
            known[batch.numbers[place]][branch] = values
    return known


def _all_labels(known: Sequence[dict[int, Tensor]], choices: Choices) -> Floats:
    found = [_labels(branches, choices) for branches in known]
    return np.array(found).reshape(len(known), len(choices.tree.choices))


@dataclass(frozen=True)
class AnswerScores:
    """What a model makes of right answers: ln p (N,) of each, and whether each of its tokens is the first choice (N,).

    `none` (N,) is the probability that the answer begins as "none" does; `tokens` (N,) counts those of the answers.
    """

    log_probabilities: Floats
    exact: NDArray[np.bool_]
    none: Floats
    tokens: NDArray[np.int64]


@torch.no_grad()
def answer_scores(
    model: PreTrainedModel, answers: AnswerSet, none: int, lower: LowerStates | None = None
) -> AnswerScores:
    """Score the right answers; `none` is the first token of the answer "none"."""
    output = output_layer(model)
    output = output._replace(weight=lowered(output.weight))
    totals, exact = np.zeros(len(answers)), np.ones(len(answers), dtype=bool)
    tokens = np.zeros(len(answers), dtype=np.int64)
    absent = np.full(len(answers), np.nan)
    for batch in _batches(answers, model.device):
        hidden = _hidden(model, batch, answers, lower)
        ends = torch.tensor(batch.lengths, device=hidden.device).cumsum(0)
        owners = torch.searchsorted(ends, batch.target_positions, right=True).tolist()
        for rows in logit_rows(len(hidden), len(output.weight)):
            logits = output.logits(hidden[rows])
            right, total = batch.labels[rows], logits.logsumexp(dim=1)
            log_probs = (logits.gather(1, right[:, None])[:, 0] - total).tolist()
            first = (logits.argmax(dim=1) == right).tolist()
            nothing = (logits[:, none] - total).exp().tolist()
            for owner, value, best, chance in zip(owners[rows], log_probs, first, nothing, strict=True):
                number = batch.numbers[owner]
                totals[number] += value
                tokens[number] += 1
                exact[number] &= best
                if np.isnan(absent[number]):
                    absent[number] = chance
    return AnswerScores(totals, exact, absent, tokens)


@torch.no_grad()
def prior_scores(model: PreTrainedModel, prompt: Sequence[int], choices: Choices) -> Floats:
    """Return ln p (L,) of all labels after one prompt."""
    branches = list(range(len(choices.tree.branches)))
    batch = _branch_batch([list(prompt)] * len(branches), branches, choices, (0,) * len(branches))
    log_probs = (
        choices.log_probs(model, target_hidden(model, batch.to(model.device), share=True), branches)
        .cpu()
        .double()
    )
    return np.array(_labels(dict(zip(branches, log_probs, strict=True)), choices))


@torch.no_grad()
def greedy_answer(
    model: PreTrainedModel, prompt: Sequence[int], most: int, stop: int
) -> tuple[list[int], float]:
    """Return the answer that a model gives when it always takes the likeliest token, up to `stop`, and its ln p."""
    ids = torch.tensor([list(prompt)], device=model.device)
    made = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=stop,
        pad_token_id=stop,
        return_dict_in_generate=True,
        output_logits=True,
    )
    chosen = made.sequences[0, len(prompt) :].tolist()
    rows = [logits[0].float().log_softmax(dim=-1) for logits in made.logits]
    return chosen, sum(float(row[token]) for row, token in zip(rows, chosen, strict=True))


def _read_branches(
    model: PreTrainedModel,
    answers: AnswerSet,
    choices: Choices,
    missing: Sequence[tuple[int, int]],
    known: list[dict[int, Tensor]],
) -> None:
    """Read each missing branch (number of the sequence, branch) after its prompt."""
    prompts = {number: answers.prompt(number) for number, _ in missing}
    lengths = [len(prompts[number]) + len(choices.tree.branches[branch].prefix) for number, branch in missing]
    for indices in pack(lengths, _TOKENS_AT_ONCE):
        chosen = [missing[index] for index in indices]
        numbers, branches = [number for number, _ in chosen], [branch for _, branch in chosen]
        batch = _branch_batch([prompts[number] for number in numbers], branches, choices, tuple(numbers))
        hidden = target_hidden(model, batch.to(model.device), share=True)
        log_probs = choices.log_probs(model, hidden, branches).cpu().double()
        for number, branch, values in zip(numbers, branches, log_probs, strict=True):
            known[number][branch] = values


def _branch_batch(
    prompts: Sequence[list[int]], branches: Sequence[int], choices: Choices, numbers: tuple[int, ...]
) -> Batch:
    """Lay prompts with the ways to branches end to end; the target is what follows there, here the first choice."""
    sequences = []
    for prompt, branch in zip(prompts, branches, strict=True):
        found = choices.tree.branches[branch]
        ids = np.array([*prompt, *found.prefix, found.tokens[0]], dtype=np.uint32)
        marks = np.zeros(len(ids), dtype=np.uint8)
        marks[-1] = 1
        sequences.append((ids, marks))
    return make_batch(sequences, numbers)


def _ways_to(choices: Choices) -> list[list[tuple[int, int]]]:
    """Return for each branch the branches before it on its path, each with the column of the token taken there."""
    branches = choices.tree.branches
    return [
        [
            (number, choices.columns[number][before.tokens.index(branch.prefix[len(before.prefix)])])
            for number, before in enumerate(branches)
            if len(before.prefix) < len(branch.prefix)
            and branch.prefix[: len(before.prefix)] == before.prefix
        ]
        for branch in branches
    ]


def _reach(found: dict[int, Tensor], steps: Sequence[tuple[int, int]]) -> float:
    return float(np.exp(sum(float(found[branch][column]) for branch, column in steps)))


def _labels(found: dict[int, Tensor], choices: Choices) -> list[float]:
    """Add up ln p on the path of each label; at a branch that was not read, all tokens are equally likely."""
    return [
        sum(
            float(found[branch][choices.columns[branch][taken]])
            if branch in found
            else -float(np.log(len(choices.columns[branch])))
            for branch, taken in taken_at
        )
        for taken_at in choices.tree.choices.values()
    ]


def _hidden(model: PreTrainedModel, batch: Batch, answers: AnswerSet, lower: LowerStates | None) -> Tensor:
    if lower:
        return lower.target_hidden(model, batch, answers.tokens)
    return target_hidden(model, batch, share=True)


def _batches(answers: AnswerSet, device: Any) -> Iterator[Batch]:
    """Yield all sequences, those about one text together."""
    groups = answers.groups()
    for chosen in pack(groups.lengths, _TOKENS_AT_ONCE):
        numbers = tuple(number for group in chosen for number in groups.members[group])
        yield make_batch([answers.tokens.sequence(number) for number in numbers], numbers).to(device)
