from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import normalizers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast

import small_models
import tinsmith.train.chunked_loss as chunked
from plain_references import (
    as_double,
    assert_same,
    gradients_of,
    ours,
    plain_logits,
    sharp_gemma2,
    sharp_llama,
)
from small_vocabulary import write_sentence_pieces
from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batches
from tinsmith.tokens.encoding import encode
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.objectives.distil import Distil
from tinsmith.train.teachers import Source
from tinsmith.train.universal import Spelling, UniversalTeacher, align
from tiny_model import tiny_tokenizer
from tiny_training import config, make_batches

TEXTS = [
    "The licence, the licensor and the licensee in 2024.",
    "Ünïcödé “quotes” – and 漢字 and 🙂 stay,  two spaces too.\n\nThe end",
    " a space first, the other the thesis",
    "the <|im_end|> of markup is text",
    "e",
]


class Told(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def sentence_pieces(directory: Path, *, prefix: bool) -> PreTrainedTokenizerFast:
    write_sentence_pieces(directory / f"{prefix}.gguf", space_prefix=prefix)
    return load_tokenizer(directory / f"{prefix}.gguf")


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedTokenizerFast]:
    directory = tmp_path_factory.mktemp("tokenizers")
    return {
        "bytes": small_models.byte_tokenizer(),
        "merges": tiny_tokenizer(),
        "pieces": sentence_pieces(directory, prefix=False),
        "spaced": sentence_pieces(directory, prefix=True),
    }


@pytest.mark.parametrize("kind", ["bytes", "merges", "pieces", "spaced"])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_spell_the_text_byte_for_byte(tokenizers: dict, kind: str, text: str) -> None:
    tokenizer = tokenizers[kind]
    spelled = b"".join(Spelling(tokenizer).spell(encode(tokenizer, text))).decode()
    assert spelled == tokenizer.decode(encode(tokenizer, text), clean_up_tokenization_spaces=False)
    assert (spelled == text) == (not loses(kind, text))


def loses(kind: str, text: str) -> bool:
    """Say whether a tokenizer puts in a space: one that begins texts with a space does so after added tokens too."""
    return kind == "spaced" and "\n\n" in text


def test_pairs_by_hand(tokenizers: dict) -> None:
    student, teacher = Spelling(tokenizers["bytes"]), Spelling(tokenizers["merges"])
    ids = [257, *encode(tokenizers["bytes"], "the thx"), 256]
    assert tokenizers["bytes"].convert_ids_to_tokens(ids) == ["<bos>", "the", "Ġ", "th", "x", "<eos>"]
    reading, pairs = align(ids, student, teacher)
    named = tokenizers["merges"].convert_ids_to_tokens(reading)
    assert named == ["<|im_end|>", "t", "he", "Ġt", "h", "x"]
    # At the beginning, after `the`, `the th` and `the thx`; not after the space, within a token of the teacher.
    assert pairs == [(0, 0), (1, 2), (3, 4), (4, 5)]


@pytest.mark.parametrize("teacher_kind", ["merges", "pieces", "spaced", "bytes"])
@pytest.mark.parametrize("student_kind", ["merges", "bytes"])
@pytest.mark.parametrize("text", TEXTS)
def test_pairs_are_all_the_places_with_the_same_text_before_them(
    tokenizers: dict, student_kind: str, teacher_kind: str, text: str
) -> None:
    ours_, theirs_ = tokenizers[student_kind], tokenizers[teacher_kind]
    ids = [ours_.bos_token_id, *encode(ours_, text), ours_.eos_token_id]
    reading, pairs = align(ids, Spelling(ours_), Spelling(theirs_))

    def read(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
        return tokenizer.decode(ids, clean_up_tokenization_spaces=False)

    mine = {read(ours_, ids[1 : place + 1]): place for place in range(len(ids) - 1)}
    own = {read(theirs_, reading[1 : place + 1]): place for place in range(len(reading))}
    if loses(teacher_kind, text):
        assert pairs == []
        return
    whole = {prefix for prefix in mine if text.startswith(prefix)} & own.keys()
    assert len(whole) >= 2
    expected = sorted((mine[prefix], own[prefix]) for prefix in whole)
    assert [
        pair
        for pair in pairs
        if pair[0] in mine.values() and "\ufffd" not in read(ours_, ids[1 : pair[0] + 1])
    ] == expected
    # The others are within letters, at bytes that both have alone.
    assert len(pairs) == len(expected) or not text.isascii()


def test_a_letter_that_is_cut_does_not_spoil_the_rest(tokenizers: dict) -> None:
    student, teacher = Spelling(tokenizers["bytes"]), Spelling(tokenizers["merges"])
    ids = encode(tokenizers["bytes"], "漢the 字")[1:-1]
    reading, pairs = align(ids, student, teacher)
    assert tokenizers["merges"].decode(reading[1:]) == "the "
    # Two bytes of a letter stand before; the student's places are those of its third byte, `the` and the space.
    assert [place for place, _ in pairs] == [1, 2, 3]


def test_what_is_not_spelled_exactly_is_left_out(tokenizers: dict) -> None:
    student, teacher = Spelling(tokenizers["bytes"]), Spelling(tokenizers["merges"])
    text = encode(tokenizers["bytes"], "the end")
    assert align([*text, 256, *text], student, teacher) == ([], [])  # an end in the middle
    assert align([*text, *encode(tokenizers["bytes"], "漢")[1:], *text], student, teacher) == (
        [],
        [],
    )  # no UTF-8
    assert align([257, 256], student, teacher) == ([], [])  # no text
    lossy = tokenizers["merges"].backend_tokenizer
    lossy.normalizer = normalizers.Lowercase()
    try:
        assert align(encode(tokenizers["bytes"], "The"), student, teacher) == ([], [])
        assert align(text, student, teacher)[1]
    finally:
        lossy.normalizer = None


def write_texts(directory: Path, tokenizer: PreTrainedTokenizerFast) -> TokenSet:
    """Write texts as the stage does, some cut in two wherever it falls, some with an unsupervised part."""
    directory.mkdir()
    writer = ShardWriter(directory)
    for number, text in enumerate([*TEXTS, *TEXTS[:3]]):
        ids = [tokenizer.bos_token_id, *encode(tokenizer, text), tokenizer.eos_token_id]
        marks = [1] * len(ids)
        if number == 2:
            marks[4:9] = [0] * 5
        cut = len(ids) // 2 if number > 4 else 0
        for order, part in enumerate([slice(0, cut), slice(cut, None)] if cut else [slice(None)]):
            writer.add(f"d{number}", order, ids[part], marks[part])
    facts = {"context": 128, "vocabulary": len(tokenizer)}
    writer.close(range(len(writer.entries)), facts)
    return TokenSet(directory)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory, tokenizers: dict) -> TokenSet:
    return write_texts(tmp_path_factory.mktemp("texts") / "tokens", tokenizers["bytes"])


def student_model():
    model = sharp_llama(0)
    model.resize_token_embeddings(261)
    return model


def teacher_model():
    model = sharp_llama(1)
    model.resize_token_embeddings(400)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.15, generator=torch.Generator().manual_seed(2))
    return model


def capped_teacher():
    return sharp_gemma2(1, size=400)


def settings(**more: float) -> DistilConfig:
    return DistilConfig.model_validate({"teacher": "one", "share": 0.5, **more})


def prepared(
    batches: Batches, tokenizers: dict, section: DistilConfig, told: Told | None = None, make=teacher_model
) -> Distil:
    spellings = Spelling(tokenizers["bytes"]), Spelling(tokenizers["merges"])
    objective = Distil(section, UniversalTeacher(section, Source("one", make), *spellings))
    objective.prepare(student_model(), batches, Path("none"), told or Told())
    return objective


def plain_universal(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    q, p = (torch.softmax(row / temperature, dim=0) for row in (student, teacher))
    width = max(len(q), len(p))
    q, p = (torch.cat([each.sort().values.flip(0), each.new_zeros(width - len(each))]) for each in (q, p))
    return (q - p).abs().sum()


@pytest.mark.parametrize(
    ("share", "temperature", "make"), [(0.5, 1, teacher_model), (1, 2, teacher_model), (1, 1, capped_teacher)]
)
def test_loss_and_gradients_are_the_plain_ones(
    tokens: TokenSet,
    tokenizers: dict,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    temperature: float,
    make,
) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_AT_ONCE", 9 * 261)
    section = settings(share=share, temperature=temperature)
    batches, student = make_batches(tokens, config(micro_rows=2)), student_model()
    objective, told = prepared(batches, tokenizers, section, make=make), Told()
    prepared(batches, tokenizers, section, told)
    double, teacher = as_double(student), as_double(make())
    spellings = Spelling(tokenizers["bytes"]), Spelling(tokenizers["merges"])
    compared, places = 0, 0
    for batch in batches.step(0):
        loss, gradients, figures = ours(objective, student, batch)
        plain, count = torch.zeros((), dtype=torch.float64), 0
        for number in batch.numbers:
            ids, marks = (each.tolist() for each in tokens.sequence(number))
            logits = plain_logits(double, [ids])[0]
            reading, pairs = align(ids, *spellings)
            with torch.no_grad():
                theirs = plain_logits(teacher, [reading])[0] if pairs else None
            for place in range(len(ids) - 1):
                if marks[place + 1]:
                    text = cross_entropy(logits[place], torch.tensor(ids[place + 1]))
                    plain = plain + (1 - share) * text
                    if place in dict(pairs):
                        distance = plain_universal(logits[place], theirs[dict(pairs)[place]], temperature)
                        plain = plain + share * distance
                        count += 1
        assert_same((loss, gradients), plain, double)
        assert figures["compared"] == count
        compared, places = compared + count, places + len(batch.labels)
    assert places / 4 < compared < places
    assert "11 of 11 sampled sequences are spelled alike" in told.lines[-1]


def test_a_step_does_not_depend_on_its_micro_batches(tokens: TokenSet, tokenizers: dict) -> None:
    found, counts = [], []
    for rows in (1, 4):
        student, batches = student_model(), make_batches(tokens, config(micro_rows=rows, batch_tokens=400))
        objective = prepared(batches, tokenizers, settings())
        isolate_sequences(student)
        steps = batches.step(0)
        counts.append(len(steps))
        found.append(gradients_of(sum(objective.loss(student, batch)[0] for batch in steps), student))
    assert counts[0] > counts[1]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("setting", [{"reverse": 0.5}, {"top_k": 4}])
def test_settings_that_mean_nothing_here_are_refused(
    tokens: TokenSet, tokenizers: dict, setting: dict[str, float]
) -> None:
    batches = make_batches(tokens, config())
    with pytest.raises(TrainingError, match=f"{next(iter(setting))}: has no meaning"):
        prepared(batches, tokenizers, settings(**setting))


def test_a_teacher_that_cannot_read_it_is_refused(
    tokens: TokenSet, tokenizers: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = make_batches(tokens, config())

    def short():
        model = teacher_model()
        model.config.max_position_embeddings = 20
        return model

    with pytest.raises(TrainingError, match="reads 20 at most"):
        prepared(batches, tokenizers, settings(), make=short)
    monkeypatch.setattr(Spelling, "spell", lambda self, ids: [b"?"] * len(ids))
    with pytest.raises(TrainingError, match="the student's tokenizer decodes"):
        prepared(batches, tokenizers, settings())
