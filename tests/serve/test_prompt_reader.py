"""Prompts read by PyTorch: what several begin with is read once, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tinsmith.model.load import load_model
from tinsmith.serve.prompt_reader import PromptReader
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import write_trained

TEXTS = ["one two red blue " * 6, "green two one red " * 9, "blue blue one " * 8]
QUESTIONS = ["fee", "duty of two", "one or red or blue"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trained(tmp_path_factory.mktemp("base") / "model")


def prompts(base: Path) -> list[list[int]]:
    tokenizer = load_tokenizer(base)
    asked = [f"{text}\n{question}" for question in QUESTIONS for text in TEXTS]
    return [tokenizer.encode(text, add_special_tokens=False) for text in [*asked, "two red", "red"]]


def test_shared_beginnings_change_nothing_but_what_is_read(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, given = PromptReader(base, torch.float32), prompts(base)
    plain, read = reader.model.base_model.forward, []

    def forward(*arguments, input_ids, **options):
        read.append(input_ids.numel())
        return plain(*arguments, input_ids=input_ids, **options)

    monkeypatch.setattr(reader.model.base_model, "forward", forward)
    states = reader.last_states(given)
    assert sum(read) < 0.6 * sum(map(len, given))
    with torch.inference_mode():
        for prompt, state in zip(given, states, strict=True):
            alone = plain(input_ids=torch.tensor([prompt])).last_hidden_state[0, -1]
            torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-4)


def test_behind_a_window_nothing_is_shared(base: Path) -> None:
    reader, given = PromptReader(base, torch.float32), prompts(base)
    states = reader.last_states(given)
    reader.model.config.sliding_window = 8
    windowed = PromptReader.__new__(PromptReader)
    windowed.__dict__ |= reader.__dict__ | {"_shares": False}
    windowed._read_shared = None  # type: ignore[method-assign]
    torch.testing.assert_close(windowed.last_states(given), states, rtol=1e-4, atol=1e-4)


def test_probabilities_are_those_of_the_whole_vocabulary(base: Path) -> None:
    given = prompts(base)
    model = load_model(base).eval()
    found = PromptReader(base, torch.float32).probabilities(given, token=7)
    with torch.inference_mode():
        plain = [float(model(torch.tensor([prompt])).logits[0, -1].softmax(0)[7]) for prompt in given]
    assert found == pytest.approx(plain, rel=1e-4)
