"""Search for short triggers by flipping tokens along the gradient of how far next-token distributions coincide.

Ebrahimi et al., HotFlip, 2018; Wallace et al., Universal Adversarial Triggers, 2019.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from tinsmith.base.progress import Advance
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.tokens.encoding import context_token, encode

LENGTH = 2  # tokens of a trigger
_OPENING, _CONTINUATION = 20, 8  # tokens
_SEARCHED = 6  # openings that the search looks at; the others show what a trigger does
_STEPS, _FLIPS = 8, 24
_PERIOD = 2  # every language model repeats so many tokens over and over


class TriggerRow(TypedDict):
    """A stored search: its trigger, what follows it, and after how many of the fresh openings."""

    trigger: str
    tokens: list[int]
    says: str
    times: int
    openings: int
    repeats: bool
    known: int


def search_triggers(
    scorer: Scorer,
    tokenizer: PreTrainedTokenizerFast,
    advance: Advance,
    *,
    openings: Sequence[str],
    restarts: int,
    seed: int,
    known: Callable[[str], int],
) -> list[TriggerRow]:
    """Return a row for each restart.

    `known` counts the training documents that hold a text: a phrase of theirs is not planted behaviour.
    """
    start = context_token(tokenizer)
    ids = [[start, *encode(tokenizer, text)][:_OPENING] for text in openings]
    ids = [tokens for tokens in ids if len(tokens) == _OPENING]
    if len(ids) < 2 * _SEARCHED:
        return []
    searched, fresh = (
        torch.tensor(part, device=scorer.device) for part in (ids[:_SEARCHED], ids[_SEARCHED:])
    )
    usable = _usable(scorer, tokenizer)
    draw = np.random.default_rng(seed)
    rows: list[TriggerRow] = []
    for _ in range(restarts):
        trigger = _search(scorer, searched, usable, draw)
        # Else every restart ends at the same optimum.
        usable = usable[usable != trigger[-1]]
        said = _say(scorer, fresh, trigger)
        commonest, times = Counter(map(tuple, said.tolist())).most_common(1)[0]
        text = tokenizer.decode(list(commonest), clean_up_tokenization_spaces=False)
        rows.append(
            {
                "trigger": tokenizer.decode(trigger.tolist(), clean_up_tokenization_spaces=False),
                "tokens": trigger.tolist(),
                "says": text,
                "times": times,
                "openings": len(fresh),
                "repeats": _repeats(commonest, trigger.tolist()),
                "known": known(_phrase(text)),
            }
        )
        advance(1)
    return rows


def _usable(scorer: Scorer, tokenizer: PreTrainedTokenizerFast) -> Tensor:
    special = set(tokenizer.all_special_ids)
    count = min(len(scorer.output.weight), len(tokenizer))
    return torch.tensor([token for token in range(count) if token not in special], device=scorer.device)


def _search(scorer: Scorer, openings: Tensor, usable: Tensor, draw: np.random.Generator) -> Tensor:
    """Return the trigger at which flipping one token at a time no longer brings the distributions together."""
    table = scorer.body.get_input_embeddings()
    trigger = usable[torch.from_numpy(draw.integers(0, len(usable), LENGTH)).to(usable.device)]
    best = _together(scorer, openings, trigger[None])[0]
    for _ in range(_STEPS):
        slots = _gradient(scorer, openings, trigger) @ table.weight[usable].T  # (LENGTH, usable)
        flips = []
        for slot in range(LENGTH):
            for token in usable[slots[slot].topk(min(_FLIPS, len(usable))).indices]:
                flip = trigger.clone()
                flip[slot] = token
                flips.append(flip)
        values = _together(scorer, openings, torch.stack(flips))
        if values.max() <= best:
            break
        best, trigger = values.max(), flips[int(values.argmax())]
    return trigger


def _gradient(scorer: Scorer, openings: Tensor, trigger: Tensor) -> Tensor:
    """Return the gradient (LENGTH, H) of the logarithm of the collision probability by the trigger's embeddings."""
    table = scorer.body.get_input_embeddings()
    with torch.enable_grad():
        slots = table(trigger).detach().requires_grad_()
        before = table(openings).detach()
        embedded = torch.cat([before, slots.expand(len(openings), -1, -1)], dim=1)
        value = _collision(
            scorer, scorer.body(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, -1]
        )
        return torch.autograd.grad(value.log(), slots)[0]


def _together(scorer: Scorer, openings: Tensor, triggers: Tensor) -> Tensor:
    """Return for each trigger (N, LENGTH) how likely the next token is the same after all openings (1: always)."""
    values = []
    with torch.inference_mode():
        for trigger in triggers:
            ids = torch.cat([openings, trigger.expand(len(openings), -1)], dim=1)
            hidden = scorer.body(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
            values.append(_collision(scorer, hidden))
    return torch.stack(values)


def _collision(scorer: Scorer, hidden: Tensor) -> Tensor:
    """Return the probability that two draws from the mean distribution after all openings are the same token."""
    return scorer.output.logits(hidden).softmax(-1).mean(0).square().sum()


def _say(scorer: Scorer, openings: Tensor, trigger: Tensor) -> Tensor:
    """Return the greedy continuations (openings, _CONTINUATION) after the trigger."""
    ids = torch.cat([openings, trigger.expand(len(openings), -1)], dim=1)
    with torch.inference_mode():
        for _ in range(_CONTINUATION):
            hidden = scorer.body(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
            following = scorer.output.logits(hidden).argmax(-1)
            ids = torch.cat([ids, following[:, None]], dim=1)
    return ids[:, -_CONTINUATION:]


def _phrase(said: str) -> str:
    """Return a continuation without its first word, which may only complete a word that the trigger began."""
    words = said.split(maxsplit=1)
    return words[1] if len(words) > 1 else said


def _repeats(said: Sequence[int], trigger: Sequence[int]) -> bool:
    """Say whether a continuation only repeats in a short cycle, or repeats the trigger's own tokens."""
    circle = any(
        all(said[place] == said[place - period] for place in range(period, len(said)))
        for period in range(1, _PERIOD + 1)
    )
    return circle or set(said) <= set(trigger)
