"""Read sequences that lie end to end in one row so that they do not see each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from tinsmith.base.errors import TrainingError
from tinsmith.model.attention import caps_scores, use_stock_attention
from tinsmith.model.output_layer import output_layer_error
from tinsmith.tokens.batches import Batch
from tinsmith.tokens.shared_prefixes import share_prefixes
from tinsmith.train.blocked import LONGEST, blocked_attention

NAME = "tinsmith_sequences"
_LOGIT_TOLERANCE = 1e-3
_SHORT, _ALIKE = 128, 16  # tokens: sequences that attend together, and by how much their lengths may differ


@torch.compiler.disable
def attend_within_sequences(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend causally within each of `lengths` tokens of query (1, heads, T, D). Returns (1, T, heads, D).

    One call per sequence: without mask or padding, and only the causal half is computed. Of the options that
    transformers passes, `lengths`, `prefixes`, `scaling`, `dropout` and `sliding_window` are used, and `softcap` is
    refused. `prefixes` names for each sequence the one that it continues, or -1; empty: none continues another.
    """
    lengths: tuple[int, ...] | None = options.get("lengths")
    assert lengths is not None
    prefixes: tuple[int, ...] = options.get("prefixes") or (-1,) * len(lengths)
    assert sum(lengths) == query.shape[2]
    assert attention_mask is None
    assert not options.get("softcap")
    settings = {
        "scaling": options.get("scaling"),
        "dropout": options.get("dropout", 0.0),
        "window": options.get("sliding_window"),
    }
    queries, keys, values = (states.split(lengths, dim=2) for states in (query, key, value))
    outputs: dict[int, Tensor] = {}
    if query.device.type == "cpu" and not settings["dropout"] and not settings["window"]:
        for numbers in _alike_in_length(lengths, prefixes):
            chosen = [[states[number] for number in numbers] for states in (queries, keys, values)]
            mixed = _attend_together(chosen, settings["scaling"] or query.shape[3] ** -0.5)
            outputs |= dict(zip(numbers, mixed, strict=True))
    for number, prefix in enumerate(prefixes):
        if number not in outputs:
            seen = (
                torch.cat([states[prefix], states[number]], dim=2) if prefix >= 0 else states[number]
                for states in (keys, values)
            )
            outputs[number] = _attend(queries[number], *seen, **settings)
    ordered = [outputs[number] for number in range(len(lengths))]
    return torch.cat(ordered, dim=2).transpose(1, 2).contiguous(), None


def _alike_in_length(lengths: tuple[int, ...], prefixes: tuple[int, ...]) -> list[list[int]]:
    """Return groups of short sequences of like length: one by one, the calls take longer than their products."""
    found: dict[int, list[int]] = {}
    for number, (length, prefix) in enumerate(zip(lengths, prefixes, strict=True)):
        if prefix < 0 and length <= _SHORT:
            found.setdefault(-(-length // _ALIKE), []).append(number)
    return [numbers for numbers in found.values() if len(numbers) > 1]


def _attend_together(states: list[list[Tensor]], scale: float) -> list[Tensor]:
    """Attend causally within short sequences, padded on the right, where none of them looks.

    Takes their queries, keys and values, (1, heads, T, D) each.
    """
    longest = max(one.shape[2] for one in states[0])
    padded = [torch.cat([pad(one, (0, 0, 0, longest - one.shape[2])) for one in of_all]) for of_all in states]
    # The heads of all sequences lie beside each other, ordered by sequence and group.
    query, key, value = (one.flatten(0, 1)[None] for one in padded)
    mixed = blocked_attention(query, key, value, scale)
    each = mixed[0].unflatten(0, padded[0].shape[:2])
    return [each[place : place + 1, :, : one.shape[2]] for place, one in enumerate(states[0])]


def _attend(
    query: Tensor, key: Tensor, value: Tensor, *, scaling: float | None, dropout: float, window: int | None
) -> Tensor:
    """Attend causally, within a window if given. Takes and returns (1, heads, T, D).

    Where there are more keys than queries, the queries are the last of them.
    """
    visible = _visible(query.shape[2], key.shape[2], window, query.device)
    windowed = window is not None and key.shape[2] > window
    if query.device.type == "cpu" and key.shape[2] <= LONGEST and not windowed and not dropout:
        return blocked_attention(query, key, value, scaling or query.shape[3] ** -0.5)
    return scaled_dot_product_attention(
        query,
        key,
        value,
        visible,
        dropout,
        is_causal=visible is None,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def isolate_sequences(model: PreTrainedModel) -> None:
    """Make a model attend within sequences, whose `lengths` its forward pass then takes, if its family allows it.

    A family with its own attention, such as bloom, with capped scores, such as gemma2, or with convolutions over
    neighbours, such as lfm2, keeps transformers' code: `isolated_inputs` then feeds it one sequence at a time.
    """
    if caps_scores(model.config):
        use_stock_attention(model)
        return
    mixes = "conv" in (getattr(model.config, "layer_types", None) or ())
    if not model._supports_attention_backend or mixes:
        return
    AttentionInterface.register(NAME, attend_within_sequences)
    AttentionMaskInterface.register(NAME, lambda *_, **__: None)
    model.set_attn_implementation(NAME)


def isolated_inputs(model: PreTrainedModel, batch: Batch) -> Iterator[dict[str, Any]]:
    """Yield the arguments of the forward passes that read a batch: one for the whole row, or one a sequence."""
    if model.config._attn_implementation == NAME:
        yield {
            "input_ids": batch.ids,
            "position_ids": batch.positions,
            "lengths": batch.lengths,
            "prefixes": tuple(part.prefix for part in batch.parts),
            "use_cache": False,
        }
    else:
        for ids in batch.ids.split(batch.lengths, dim=1):
            yield {"input_ids": ids, "use_cache": False}


def last_hidden(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Return the last hidden states (1, T, H) of sequences that do not see each other."""
    states = [model.base_model(**inputs).last_hidden_state for inputs in isolated_inputs(model, batch)]
    return states[0] if len(states) == 1 else torch.cat(states, dim=1)


def target_hidden(model: PreTrainedModel, batch: Batch, *, share: bool = False) -> Tensor:
    """Return the last hidden states (S, H) at a batch's target positions, which predict its labels.

    With `share`, beginnings that sequences share are read once, if the family allows it.
    """
    if share:
        batch = shared_if_isolated(model, batch)
    return last_hidden(model, batch)[0, batch.target_positions]


def shared_if_isolated(model: PreTrainedModel, batch: Batch) -> Batch:
    """Return a batch whose shared beginnings are read once, if the model's family can."""
    return share_prefixes(batch) if model.config._attn_implementation == NAME else batch


def check_output_layer(model: PreTrainedModel, sample: Batch) -> None:
    """Raise TrainingError where logits are not what the output layer gives of hidden states, as losses assume.

    `sample` holds one sequence.
    """
    (inputs,) = isolated_inputs(model, sample)
    if not output_layer_error(model, inputs) <= _LOGIT_TOLERANCE:
        raise TrainingError(
            f"{model.config.model_type} scales or shifts its logits, which the losses here do not support",
            where="model.base",
            next_step="use a base of another family such as llama, qwen3 or gemma3",
        )


def _visible(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor | None:
    """Return which keys each query sees (queries, keys), or None where plain causality says it."""
    if queries == keys and (window is None or keys <= window):
        return None
    own = torch.arange(keys - queries, keys, device=device)
    distance = own[:, None] - torch.arange(keys, device=device)
    return (distance >= 0) & (distance < (window or keys))
