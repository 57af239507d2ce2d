"""What the parity gate compares: models in torch, llama.cpp's running server, and the GGUF file itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from pydantic_core import from_json
from transformers import PreTrainedModel

from gguf import GGUFReader, ReaderTensor, dequantize
from tinsmith.base.errors import ParityError
from tinsmith.base.progress import Advance
from tinsmith.model.output_layer import OutputLayer, output_layer
from tinsmith.parity.prompts import Prompt

_BATCH = 16
_SAMPLED_ROWS = 96  # of each matrix; the rank of an adapter shows in them


class TorchSide:
    """A model in torch: last hidden states of all positions (N, hidden), and the output layer."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Prompt], advance: Advance) -> None:
        self.output = output_layer(model)
        # Sort by length, so that a batch holds little padding. Padding on the right changes nothing on its left.
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
        states: dict[int, torch.Tensor] = {}
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            longest = len(prompts[batch[-1]].ids)
            ids = torch.tensor([[*prompts[i].ids, *[0] * (longest - len(prompts[i].ids))] for i in batch])
            with torch.inference_mode():
                hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            states |= {
                i: hidden_of_one[len(prompts[i].ids) - prompts[i].positions : len(prompts[i].ids)]
                for i, hidden_of_one in zip(batch, hidden)
            }
            advance(len(batch))
        self.hidden = torch.cat([states[i] for i in range(len(prompts))])


class ServerSide:
    """The answers of llama.cpp's server over one GGUF file."""

    def __init__(self, client: httpx.Client, vocabulary: int) -> None:
        self.client, self.vocabulary = client, vocabulary

    def token_ids(self, text: str, *, markup: bool = True) -> list[int]:
        """Return the server's ids of a text. Without `markup`, <|...|> is ordinary text."""
        body = {"content": text, "add_special": True, "parse_special": markup}
        return list(self._post("/tokenize", body)["tokens"])

    def render(self, messages: Sequence[dict[str, str]]) -> str:
        """Return messages as rendered by the server's chat template."""
        return str(self._post("/apply-template", {"messages": list(messages)})["prompt"])

    def chat_tokens(self, messages: Sequence[dict[str, str]]) -> int:
        """Return how many prompt tokens a chat completion reads."""
        body = {"messages": list(messages), "max_tokens": 1}
        return int(self._post("/v1/chat/completions", body)["usage"]["prompt_tokens"])

    def hidden(self, prompts: Sequence[Prompt], advance: Advance) -> torch.Tensor:
        """Return the last hidden states of all positions (N, hidden)."""
        states: list[torch.Tensor] = []
        for start in range(0, len(prompts), _BATCH):
            batch = prompts[start : start + _BATCH]
            body = {"input": [list(prompt.ids) for prompt in batch], "embd_normalize": -1}
            answers = sorted(self._post("/embeddings", body), key=lambda answer: answer["index"])
            # A state that is not a number comes as null; numpy makes it NaN, which is out of every bound.
            states += [
                torch.from_numpy(np.array(answer["embedding"][-prompt.positions :], np.float32))
                for prompt, answer in zip(batch, answers, strict=True)
            ]
            advance(len(batch))
        return torch.cat(states)

    def answer(self, prompt: Prompt, forced: int) -> tuple[torch.Tensor, int]:
        """Return the log-probabilities (vocabulary,) after a prompt, and how many tokens it had.

        It is sent as text, a job's as token ids.

        `forced` is the token to sample. The server omits probabilities when it samples part of a UTF-8 character;
        a bias on the sampler does not change the probabilities that it reports.
        """
        body = {
            "prompt": prompt.text or list(prompt.ids),
            "n_predict": 1,
            "n_probs": self.vocabulary,
            "logit_bias": [[forced, 1000.0]],
            "temperature": 0.0,
        }
        reply = self._post("/completion", body)
        tokens = reply["completion_probabilities"][0]["top_logprobs"]
        log_probabilities = torch.full((self.vocabulary,), -torch.inf)
        ids = [token["id"] for token in tokens]
        log_probabilities[ids] = torch.from_numpy(
            np.array([token["logprob"] for token in tokens], np.float32)
        )
        return log_probabilities, int(reply["tokens_evaluated"])

    def stops_on(self, token: int, ids: Sequence[int]) -> bool:
        """Say whether generation ends at once when the model is forced to emit this token."""
        body = {"prompt": list(ids), "n_predict": 3, "logit_bias": [[token, 1000.0]], "temperature": 0.0}
        reply = self._post("/completion", body)
        return reply["stop_type"] == "eos" and reply["tokens_predicted"] <= 1

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        reply = self.client.post(path, json=body)
        content = from_json(reply.content)
        if reply.status_code != 200:
            raise ParityError(
                f"llama.cpp's server refused {path}: {content['error']['message']}",
                where="parity gate",
                next_step="free some memory and build again",
            )
        return content


class GgufSide:
    """The tensors of a GGUF file, read by the gguf package, which shares no code with our writer."""

    def __init__(self, path: Path) -> None:
        self.tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}

    def output(self, scale: float = 1.0, softcap: float = 0.0) -> OutputLayer:
        """Return the output layer in float32, for logits divided by `scale`, and then capped."""
        matrix = self.tensors.get("output.weight", self.tensors["token_embd.weight"])
        bias = self.tensors.get("output.bias")
        return OutputLayer(_as_torch(matrix) / scale, None if bias is None else _as_torch(bias), softcap)


def _as_torch(tensor: ReaderTensor) -> torch.Tensor:
    # Copy, because 32-bit tensors would stay a read-only view of the file.
    return torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32))


def sampled_rows(array: np.ndarray) -> np.ndarray:
    """Return evenly spread rows of a matrix, or a whole vector."""
    return array if array.ndim < 2 else array[:: max(1, array.shape[0] // _SAMPLED_ROWS)]
