"""Optimisers: AdamW for everything, or Muon for hidden matrices with AdamW for the rest."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer
from transformers import PreTrainedModel

from tinsmith.recipe import TrainConfig
from tinsmith.train.muon import Muon

_STATES: dict[type[Optimizer], int] = {AdamW: 2, Muon: 1}  # tensors of a parameter's size


class Optimizers:
    """One or two optimisers that act as one, with one learning rate."""

    def __init__(self, model: PreTrainedModel, config: TrainConfig) -> None:
        hidden, tables, vectors = _sort_parameters(model)
        decay = config.weight_decay
        self.parameters = [*hidden, *tables, *vectors]
        adam, muon = ([*hidden, *tables], []) if config.optimizer == "adamw" else (tables, hidden)
        # Norms and biases do not decay.
        groups = [{"params": adam, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
        groups = [group for group in groups if group["params"]]
        self._all: list[Optimizer] = []
        if groups:
            self._all.append(AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True))
        if muon:
            self._all.append(Muon(muon, lr=config.learning_rate, weight_decay=decay))

    def step(self, learning_rate: float) -> None:
        """Move the weights by their gradients, then drop the gradients."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        # Fused AdamW does not say that it changed them, and `lowered` must convert them again.
        torch.autograd.graph.increment_version(self.parameters)

    def drop_gradients(self) -> None:
        """Drop the gradients."""
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def allocate_state(self) -> list[Tensor]:
        """Allocate zero gradients; return tensors as large as the optimisers' states from the first step on."""
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        return [
            torch.zeros_like(parameter)
            for optimizer in self._all
            for group in optimizer.param_groups
            for parameter in group["params"] * _STATES[type(optimizer)]
        ]

    def bytes_in_training(self) -> int:
        """Count the bytes of gradients and optimiser states from the first step on."""
        return sum(
            parameter.nbytes * (1 + _STATES[type(optimizer)])
            for optimizer in self._all
            for group in optimizer.param_groups
            for parameter in group["params"]
        )

    def state(self) -> tuple[dict[str, Tensor], str]:
        """Return the state as named tensors and the rest as JSON."""
        tensors: dict[str, Tensor] = {}
        rest: list[Any] = []
        for number, optimizer in enumerate(self._all):
            facts = optimizer.state_dict()
            plain: dict[str, dict[str, Any]] = {}
            for index, values in facts["state"].items():
                for name, value in values.items():
                    if isinstance(value, Tensor):
                        tensors[f"{number}.{index}.{name}"] = value
                    else:
                        plain.setdefault(str(index), {})[name] = value
            rest.append({"param_groups": facts["param_groups"], "plain": plain})
        return tensors, json.dumps(rest)

    def empty_like_saved(self, key: str, size: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return a tensor to read one of `state`'s tensors into, sharded like its parameter."""
        owner, index, _ = key.split(".")
        groups = self._all[int(owner)].param_groups
        parameter = [parameter for group in groups for parameter in group["params"]][int(index)]
        if parameter.shape == size:
            return torch.zeros_like(parameter, dtype=dtype)
        return torch.zeros(size, dtype=dtype)

    def load(self, tensors: dict[str, Tensor], rest: str) -> None:
        """Restore what `state` returned. Raises ValueError or KeyError for the state of another optimiser."""
        for number, (optimizer, facts) in enumerate(zip(self._all, json.loads(rest), strict=True)):
            state: dict[int, dict[str, Any]] = {
                int(index): values for index, values in facts["plain"].items()
            }
            for key, tensor in tensors.items():
                owner, index, name = key.split(".")
                if int(owner) == number:
                    state.setdefault(int(index), {})[name] = tensor
            optimizer.load_state_dict({"state": state, "param_groups": facts["param_groups"]})


def clip_gradients(parameters: list[torch.nn.Parameter], most: float) -> float:
    """Scale gradients down to the norm `most`; return the norm before."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, most, foreach=True)
    # With sharded gradients each process holds a part of the norm.
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)


def _sort_parameters(model: PreTrainedModel) -> tuple[list[Any], list[Any], list[Any]]:
    """Return trainable parameters as hidden matrices, tables (embeddings, output layer) and vectors."""
    ends = {id(part.weight) for part in model.modules() if isinstance(part, torch.nn.Embedding)}
    if (output := model.get_output_embeddings()) is not None:
        ends.add(id(output.weight))
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    hidden = [p for p in trainable if p.ndim == 2 and id(p) not in ends]
    tables = [p for p in trainable if p.ndim != 1 and (id(p) in ends or p.ndim != 2)]
    return hidden, tables, [p for p in trainable if p.ndim == 1]
