"""Prompts read by PyTorch: what several begin with is read once, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tinsmith.model.families import FAMILIES
from tinsmith.model.load import load_model
from tinsmith.serve.prompt_reader import PromptReader
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import tiny_family, write_trained

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


def test_behind_a_window_nothing_is_shared(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, given = PromptReader(base, torch.float32), prompts(base)
    states = reader.last_states(given)
    reader.model.config.sliding_window = 8
    monkeypatch.setattr("tinsmith.serve.prompt_reader.load_model", lambda *_, **__: reader.model)
    windowed = PromptReader(base, torch.float32)
    assert not windowed.can_go_on
    monkeypatch.setattr(windowed, "_read_shared", None)
    torch.testing.assert_close(windowed.last_states(given), states, rtol=1e-4, atol=1e-4)


def test_lines_are_those_of_plain_greedy_writing(base: Path) -> None:
    """Prompts of different lengths are read together, and lines end at different times."""
    given, model = prompts(base), load_model(base).eval()
    plain: list[list[int]] = []
    with torch.inference_mode():
        for prompt in given:
            ids = list(prompt)
            for _ in range(8):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            plain.append(ids[len(prompt) :])
    stop = plain[0][3]
    most = [8, 2, *[8] * (len(given) - 2)]
    lines = PromptReader(base, torch.float32).lines(given, most, lambda number, tokens: tokens[-1][0] == stop)
    for line, whole, room in zip(lines, plain, most, strict=True):
        end = whole.index(stop) + 1 if stop in whole else len(whole)
        assert [token for token, _ in line] == whole[: min(end, room)]
    with torch.inference_mode():
        log_p = model(torch.tensor([given[1]])).logits[0, -1].log_softmax(0).max()
    assert lines[1][0][1] == pytest.approx(float(log_p), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reads_together_what_it_reads_alone(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_family(family).eval()
    monkeypatch.setattr("tinsmith.serve.prompt_reader.load_model", lambda *_, **__: model)
    one, other = ([7 * place % step + 1 for place in range(step)] for step in (31, 43))
    given = [[*one, 5, 6], [*one, 7, 8, 9], [*other, 3], [*other, 4, 2], [1, 2, 3]]
    reader = PromptReader(Path("unused"), torch.float32)
    assert reader.can_go_on == (family != "gemma3")
    lines = reader.lines(given, [4] * 5, lambda number, tokens: False) if reader.can_go_on else []
    with torch.inference_mode():
        for prompt, state in zip(given, reader.last_states(given), strict=True):
            alone = model.base_model(input_ids=torch.tensor([prompt])).last_hidden_state[0, -1]
            torch.testing.assert_close(state, alone, rtol=1e-4, atol=1e-4)
        for prompt, line in zip(given, lines, strict=bool(lines)):
            ids = list(prompt)
            for token, _ in line:
                assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
                ids.append(token)


def test_probabilities_are_those_of_the_whole_vocabulary(base: Path) -> None:
    given = prompts(base)
    model = load_model(base).eval()
    found = PromptReader(base, torch.float32).probabilities(given, token=7)
    with torch.inference_mode():
        plain = [float(model(torch.tensor([prompt])).logits[0, -1].softmax(0)[7]) for prompt in given]
    assert found == pytest.approx(plain, rel=1e-4)
