"""What the parity gate compares: a model in torch, llama.cpp's running server, and the GGUF file itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import torch
from pydantic_core import from_json
from transformers import PreTrainedModel

from gguf import GGUFReader, ReaderTensor, dequantize
from tinsmith.base.errors import ParityError
from tinsmith.gguf.writer import CheckpointTensors
from tinsmith.parity.prompts import Prompt

_BATCH = 16
_SAMPLED_ROWS = 32
# Far above what any format here loses (4 bits: 0.1), far below what another tensor would give (1.4).
_MAX_TENSOR_ERROR = 0.3


class Head(NamedTuple):
    """The output matrix (vocabulary, hidden), and its bias (vocabulary,) where the family has one."""

    weight: torch.Tensor
    bias: torch.Tensor | None = None

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits (..., vocabulary) of hidden states."""
        return torch.nn.functional.linear(hidden, self.weight, self.bias)

    def log_probabilities(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities (..., vocabulary), in nats."""
        return self.logits(hidden).log_softmax(-1)


class TorchSide:
    """Last hidden states of all positions (N, hidden), and the output layer."""

    def __init__(
        self, model: PreTrainedModel, prompts: Sequence[Prompt], advance: Callable[[float], None]
    ) -> None:
        layer = model.get_output_embeddings()
        bias = getattr(layer, "bias", None)
        self.head = Head(layer.weight.detach(), None if bias is None else bias.detach())
        # Sorted by length, so that a batch holds little padding; padding on the right changes nothing on
        # its left.
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
        states: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            longest = len(prompts[batch[-1]].ids)
            ids = torch.tensor([[*prompts[i].ids, *[0] * (longest - len(prompts[i].ids))] for i in batch])
            with torch.inference_mode():
                hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            states |= {i: row[: len(prompts[i].ids)] for i, row in zip(batch, hidden)}
            advance(len(batch))
        self.hidden = torch.cat([states[i] for i in range(len(prompts))])


class ServerSide:
    """What llama.cpp's server over one GGUF file answers."""

    def __init__(self, client: httpx.Client, vocabulary: int) -> None:
        self.client, self.vocabulary = client, vocabulary

    def token_ids(self, text: str, *, markup: bool = True) -> list[int]:
        """Return the ids of a text as the server takes it; with `markup` off, <|...|> is ordinary text."""
        body = {"content": text, "add_special": True, "parse_special": markup}
        return list(self._post("/tokenize", body)["tokens"])

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """Return what the server's chat template makes of messages."""
        return str(self._post("/apply-template", {"messages": list(messages)})["prompt"])

    def chat_tokens(self, messages: Sequence[dict[str, str]]) -> int:
        """Return how many tokens a chat completion really read."""
        body = {"messages": list(messages), "max_tokens": 1}
        return int(self._post("/v1/chat/completions", body)["usage"]["prompt_tokens"])

    def hidden(self, prompts: Sequence[Prompt], advance: Callable[[float], None]) -> torch.Tensor:
        """Return the last hidden states of all positions (N, hidden)."""
        rows: list[torch.Tensor] = []
        for start in range(0, len(prompts), _BATCH):
            batch = prompts[start : start + _BATCH]
            body = {"input": [list(prompt.ids) for prompt in batch], "embd_normalize": -1}
            answers = sorted(self._post("/embeddings", body), key=lambda answer: answer["index"])
            rows += [torch.tensor(answer["embedding"], dtype=torch.float32) for answer in answers]
            advance(len(batch))
        return torch.cat(rows)

    def answer(self, prompt: Prompt, forced: int) -> tuple[torch.Tensor, int]:
        """Return the log-probabilities (vocabulary,) after a prompt sent as text, and how many tokens were
        read.

        `forced` is the token to sample: the server leaves probabilities out where it samples a part of a
        UTF-8 character, and a bias on the sampler does not change the probabilities that it reports.
        """
        body = {
            "prompt": prompt.text,
            "n_predict": 1,
            "n_probs": self.vocabulary,
            "logit_bias": [[forced, 1000.0]],
            "temperature": 0.0,
        }
        found = self._post("/completion", body)
        row = found["completion_probabilities"][0]["top_logprobs"]
        logs = torch.full((self.vocabulary,), -torch.inf)
        logs[[token["id"] for token in row]] = torch.tensor([token["logprob"] for token in row])
        return logs, int(found["tokens_evaluated"])

    def stops_on(self, token: int, ids: Sequence[int]) -> bool:
        """Tell whether generation ends at once where the model is made to say this token."""
        body = {"prompt": list(ids), "n_predict": 3, "logit_bias": [[token, 1000.0]], "temperature": 0.0}
        found = self._post("/completion", body)
        return found["stop_type"] == "eos" and found["tokens_predicted"] <= 1

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        reply = self.client.post(path, json=body)
        found = from_json(reply.content)
        if reply.status_code != 200:
            raise ParityError(f"the server refused {path}: {found['error']['message']}", where="parity gate")
        return found


class GgufSide:
    """The tensors of a GGUF file, read with gguf and not with what wrote it."""

    def __init__(self, path: Path) -> None:
        self.tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}

    def head(self) -> Head:
        """Return the output layer in float32."""
        matrix = self.tensors.get("output.weight", self.tensors["token_embd.weight"])
        bias = self.tensors.get("output.bias")
        return Head(_as_torch(matrix), None if bias is None else _as_torch(bias))

    def differences(self, trained: dict[str, np.ndarray]) -> list[str]:
        """Name every tensor whose sampled rows are not those of the trained model."""
        found = [f"the tensor {name} is missing" for name in trained.keys() - self.tensors.keys()]
        for name in trained.keys() & self.tensors.keys():
            tensor = self.tensors[name]
            ours = dequantize(sampled_rows(tensor.data), tensor.tensor_type)
            if ours.shape != trained[name].shape:
                found.append(f"the tensor {name} has other sizes than the trained one")
                continue
            scale = float(np.square(trained[name]).mean()) or 1.0
            error = (float(np.square(ours - trained[name]).mean()) / scale) ** 0.5
            if not error <= _MAX_TENSOR_ERROR:
                found.append(f"the tensor {name} is not the trained one (relative error {error:.2f})")
        return sorted(found)


def _as_torch(tensor: ReaderTensor) -> torch.Tensor:
    # A copy: what is stored in 32 bits would stay a read-only view of the file.
    return torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))


def trained_rows(model_dir: Path) -> dict[str, np.ndarray]:
    """Return sampled rows of every trained tensor by its GGUF name."""
    return {name: sampled_rows(array).copy() for name, array in CheckpointTensors(model_dir)}


def sampled_rows(array: np.ndarray) -> np.ndarray:
    """Return some rows, spread evenly, of a matrix, and a vector whole."""
    return array if array.ndim < 2 else array[:: max(1, array.shape[0] // _SAMPLED_ROWS)]
