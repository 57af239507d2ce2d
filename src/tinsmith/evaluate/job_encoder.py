"""A small encoder as a baseline of a classification: all weights are fine-tuned, as BERT's authors do (2018)."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedTokenizerFast

from tinsmith.evaluate.job_baselines import Guess, JobData

EPOCHS, BATCH, RATE, HEAD_RATE = 6, 16, 1e-4, 1e-3
MOST_TOKENS = 256  # of an input
_WARM_UP = 0.1  # of the steps


class _Classifier(nn.Module):
    """The mean of an encoder's last hidden states, and a linear layer on it."""

    def __init__(self, path: Path, labels: int) -> None:
        super().__init__()
        self.body = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True)
        self.head = nn.Linear(self.body.config.hidden_size, labels)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (B, L)."""
        states = self.body(**batch).last_hidden_state
        mask = batch["attention_mask"][:, :, None].to(states.dtype)
        logits: Tensor = self.head((states * mask).sum(dim=1) / mask.sum(dim=1).clamp_min(1.0))
        return logits


def fine_tuned(data: JobData, path: Path, *, seconds: float, seed: int) -> list[Guess]:
    """Fine-tune the encoder at `path` for at most six epochs or `seconds`, and answer the test.

    The epoch that is right most often on validation rows answers; without any, the last.
    """
    torch.manual_seed(seed)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(path, local_files_only=True)
    model = _Classifier(path, len(data.labels))
    texts, targets = data.texts("learn"), torch.as_tensor(data.targets("learn"))
    optimizer = torch.optim.AdamW(
        [{"params": model.body.parameters()}, {"params": model.head.parameters(), "lr": HEAD_RATE}],
        lr=RATE,
        weight_decay=0.01,
    )
    generator = np.random.default_rng(seed)
    steps = EPOCHS * -(-len(texts) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    best, likely, start = -1.0, np.zeros((0, 0)), time.monotonic()
    for _ in range(EPOCHS):
        model.train()
        for rows in _batches(texts, generator):
            loss = nn.functional.cross_entropy(
                model(_read(tokenizer, [texts[i] for i in rows])), targets[rows]
            )
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if time.monotonic() - start > seconds:
                break
        right = _right(model, tokenizer, data)
        if right >= best:
            best, likely = right, _log_probs(model, tokenizer, data.texts("test"))
        if time.monotonic() - start > seconds:
            break
    return [
        Guess(data.labels[int(row.argmax())], dict(zip(data.labels, row.tolist(), strict=True)))
        for row in likely
    ]


def _share(step: int, steps: int) -> float:
    """Return the share of the learning rate: a short rise, then a line down to zero."""
    warm = max(1, round(_WARM_UP * steps))
    return min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))


def _batches(texts: list[str], generator: np.random.Generator) -> list[list[int]]:
    """Return batches of texts of like length, in random order."""
    order = generator.permutation(len(texts))
    by_length = sorted(order.tolist(), key=lambda i: len(texts[i]) // 40)
    batches = [by_length[at : at + BATCH] for at in range(0, len(by_length), BATCH)]
    return [batches[i] for i in generator.permutation(len(batches))]


def _read(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> dict[str, Tensor]:
    read = tokenizer(texts, padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
    return {name: read[name] for name in ("input_ids", "attention_mask")}


def _right(model: _Classifier, tokenizer: PreTrainedTokenizerFast, data: JobData) -> float:
    texts = data.texts("validation")
    if not texts:
        return 0.0
    return float((_log_probs(model, tokenizer, texts).argmax(axis=1) == data.targets("validation")).mean())


def _log_probs(model: _Classifier, tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> np.ndarray:
    """Return ln p (N, L) of all labels for each text."""
    model.eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = np.zeros((len(texts), model.head.out_features))
    with torch.inference_mode():
        for at in range(0, len(order), 2 * BATCH):
            rows = order[at : at + 2 * BATCH]
            logits = model(_read(tokenizer, [texts[i] for i in rows])).double()
            found[rows] = logits.log_softmax(dim=-1).numpy()
    return found
