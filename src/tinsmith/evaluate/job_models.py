"""Ask models about a job in PyTorch: ln p of each label, after examples or without, and frozen hidden states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from tinsmith.base.files import JsonObject
from tinsmith.base.progress import Advance
from tinsmith.evaluate.scoring.scorer import Scorer, batches
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.jobs.ask import NONE
from tinsmith.jobs.asks import asks_of, prompt_of
from tinsmith.jobs.labels import LabelTree
from tinsmith.jobs.prompt import answer_ids, make_prompt
from tinsmith.jobs.spec import Calibration, Job
from tinsmith.tokens.encoding import context_token, encode

SHOT_TOKENS = 160  # of an example's input and question, at most: the examples are read before every row


def prompt_ids(tokenizer: PreTrainedTokenizerFast, job: Job, row: JsonObject) -> tuple[int, ...]:
    """Return the prompt of a classification of one row."""
    (ask,) = asks_of(job, {**row, "answer": None}, tokenizer)
    return prompt_of(job, tokenizer, ask).ids


def label_log_p(
    scorer: Scorer,
    tokenizer: PreTrainedTokenizerFast,
    job: Job,
    rows: Sequence[JsonObject],
    shots: Sequence[JsonObject] = (),
    advance: Advance = lambda tokens: None,
) -> list[dict[str, float]]:
    """Return ln p of each label for each row: at the branches of the labels' tokens, among the tokens there.

    Rows have `input` and, where the question is a template, `record`. Examples are read once, before all of them.
    """
    labels = LabelTree.of(tokenizer, job.labels)
    prefix = shown_before(tokenizer, job, shots) if shots else []
    trees, places = [], []
    for row in rows:
        prompt = prompt_ids(tokenizer, job, row)[1 if prefix else 0 :]
        tree = Tree()
        nodes = [
            [tree.add([*prompt, *branch.prefix, token])[-1] for token in branch.tokens]
            for branch in labels.branches
        ]
        tree.ask([node for branch in nodes for node in branch])
        trees.append(tree)
        places.append(nodes)
    scored = scorer.score(trees, prefix=prefix, advance=advance)
    return [
        labels.log_probabilities([[values[node] for node in branch] for branch in nodes])
        for values, nodes in zip(scored, places, strict=True)
    ]


def untaught(
    scorer: Scorer,
    tokenizer: PreTrainedTokenizerFast,
    job: Job,
    shots: Sequence[JsonObject],
    *,
    like: JsonObject,
) -> Calibration:
    """Return the calibration of a model that did not learn the job: what labels cost without a text is taken off.

    The empty row has the fields of the row `like`. Zhao et al. 2021, Calibrate Before Use (arXiv 2102.09690).
    """
    empty = {"input": "", "record": dict.fromkeys(like.get("record", {}), "")}
    (prior,) = label_log_p(scorer, tokenizer, job, [empty], shots)
    return Calibration(prior=prior, prior_weight=1.0)


def shown_before(tokenizer: PreTrainedTokenizerFast, job: Job, shots: Sequence[JsonObject]) -> list[int]:
    """Return the tokens of examples in the form of the prompt, each with its answer; long inputs are cut.

    Of an extraction, an example shows the first value that is there. Where an answer is taken from the input, the input
    is shown as far as the job's context holds it.
    """
    tokens = [context_token(tokenizer)]
    for shot in shots:
        asks = asks_of(job, shot, tokenizer)
        ask = next((one for one in asks if one.answer != NONE), asks[0])
        room = SHOT_TOKENS + len(encode(tokenizer, ask.question))
        if job.config.kind != "classify":
            room = job.config.context
        tokens += make_prompt(tokenizer, ask.text, ask.question, room=room, keep=job.config.keep).ids[1:]
        tokens += [*answer_ids(tokenizer, ask.answer or ""), *encode(tokenizer, "\n")]
    return tokens


def draw_shots(rows: Sequence[JsonObject], count: int, *, seed: int) -> list[JsonObject]:
    """Draw examples of the learning side, one answer after another, so that none repeats before all had their turn."""
    turns: dict[str, int] = {}
    keyed = []
    for place, number in enumerate(np.random.default_rng(seed).permutation(len(rows))):
        answer = repr(rows[number]["answer"])
        turns[answer] = turns.get(answer, 0) + 1
        keyed.append((turns[answer], place, rows[number]))
    return [row for _, _, row in sorted(keyed, key=lambda key: key[:2])[:count]]


def hidden_states(
    scorer: Scorer,
    tokenizer: PreTrainedTokenizerFast,
    job: Job,
    rows: Sequence[JsonObject],
    advance: Advance = lambda tokens: None,
) -> np.ndarray:
    """Return for each row (N, 2H) the last hidden state of its prompt, and the mean over the prompt."""
    prompts = [prompt_ids(tokenizer, job, row) for row in rows]
    found = np.zeros((len(rows), 2 * scorer.output.weight.shape[1]), dtype=np.float32)
    lengths = [len(prompt) for prompt in prompts]
    with torch.inference_mode():
        for batch in batches(lengths, [True] * len(lengths), scorer.batch_tokens):
            ids = torch.zeros(len(batch), max(lengths[i] for i in batch), dtype=torch.long)
            for place, i in enumerate(batch):
                ids[place, : lengths[i]] = torch.tensor(prompts[i])
            hidden = scorer.body(input_ids=ids.to(scorer.device), use_cache=False).last_hidden_state.float()
            for place, i in enumerate(batch):
                own = hidden[place, : lengths[i]]
                found[i] = torch.cat([own[-1], own.mean(dim=0)]).cpu().numpy()
            advance(len(batch))
    return found
