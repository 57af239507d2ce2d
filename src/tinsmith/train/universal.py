"""A teacher with a tokenizer of its own: it reads the same text, and is heard where both have just ended a token."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import Progress
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batch, Batches, make_batch
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.train.chunked import ChunkLoss
from tinsmith.train.distil import universal_distance
from tinsmith.train.objectives import output_layer
from tinsmith.train.teachers import WHERE, Source, check_teacher, teacher_hidden

_SURVEYED = 200  # sequences looked at before the first step, to say how much can be compared


class Spelling:
    """The bytes that each token of a tokenizer stands for."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raise TrainingError for a tokenizer that is neither byte-level nor made of sentence pieces."""
        self.tokenizer = tokenizer
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        steps = list(_decoder_steps(backend["decoder"]))
        kinds = {step["type"] for step in steps}
        if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
            raise TrainingError(
                "a tokenizer here cuts neither bytes nor sentence pieces",
                where=WHERE,
                next_step="take a teacher of the student's own tokenizer",
            )
        self._byte_level = "ByteLevel" in kinds
        # A sentence-piece model puts a space before a text, and takes it away again when it decodes.
        self._drops_space = any(
            step.get("start") or (step["type"] == "Metaspace" and step["prepend_scheme"] != "never")
            for step in steps
        )
        self._added = {row["id"]: row["content"].encode() for row in backend["added_tokens"]}
        self.special = {row["id"] for row in backend["added_tokens"] if row["special"]}

    def spell(self, ids: Sequence[int]) -> list[bytes]:
        """Return the bytes of each token of a text; none of a special token."""
        pieces = self.tokenizer.convert_ids_to_tokens(list(ids))
        spelled = [self._bytes(number, piece) for number, piece in zip(ids, pieces, strict=True)]
        if self._drops_space and spelled:
            spelled[0] = spelled[0].removeprefix(b" ")
        return spelled

    def _bytes(self, number: int, piece: str) -> bytes:
        if number in self.special:
            return b""
        if number in self._added:
            return self._added[number]
        if self._byte_level and all(letter in _BYTES for letter in piece):
            return bytes(_BYTES[letter] for letter in piece)
        if match := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):
            return bytes.fromhex(match[1])
        return piece.replace("▁", " ").encode()


class UniversalTeacher:
    """Universal Logit Distillation (Boizard et al. 2024, arXiv:2402.12030), aligned by bytes.

    The teacher reads the text that the student's tokens spell, behind its own token for the beginning. Where both
    have ended a token at the same byte, both foretell what follows the same text, and the sorted probabilities
    of their next tokens are compared by their L1 distance. Places where only the student has a boundary count
    nothing, and so do sequences that one of the tokenizers does not spell byte for byte.
    """

    scale = 1.0

    def __init__(self, config: DistilConfig, source: Source, student: Spelling, teacher: Spelling) -> None:
        """Raise TrainingError for settings that mean nothing between two vocabularies."""
        for name, value in (("reverse", config.reverse), ("top_k", config.top_k)):
            if value:
                raise TrainingError(
                    "means nothing for a teacher with another tokenizer: probabilities are compared by rank",
                    where=f"train.distil.{name}",
                    next_step="set it to 0",
                )
        self.config, self.source, self.student, self.teacher = config, source, student, teacher

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Open the teacher and say how much of the text both cut alike. Raises TrainingError if nothing is."""
        self._model = self.source.load().eval().requires_grad_(False).to(model.device)
        tokens = batches.tokens
        self._most = getattr(self._model.config, "max_position_embeddings", None) or 1 << 30
        surveyed = np.linspace(0, len(tokens) - 1, min(len(tokens), _SURVEYED), dtype=np.int64)
        texts = [tokens.sequence(int(number))[0].tolist() for number in surveyed]
        for ids in texts:
            self._check_student(ids)
        found = [self._align(ids) for ids in texts]
        pairs, places = sum(len(places) for _, places in found), sum(map(len, texts))
        exact = sum(1 for _, places in found if places)
        progress.say(
            f"  teacher: it cuts the text as the student does at {pairs / places:.0%} of the places; "
            f"{exact} of {len(texts)} sequences looked at are spelled alike"
        )
        if not pairs:
            raise TrainingError(
                "its tokens never end where the student's do",
                where=WHERE,
                next_step="take another teacher",
            )
        sample = next(ids for ids, places in found if places)[:64]
        check_teacher(self._model, make_batch([_unmarked(sample)]))

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return the distance at the places where both have a boundary; `compared` counts them."""
        reading, rows = self._reading(batch)
        device = batch.ids.device
        if reading is None:
            return lambda logits, _: logits.new_zeros(()), {"compared": 0.0}
        hidden, output = teacher_hidden(self._model, reading), output_layer(self._model)
        heard = torch.tensor(rows, device=device)

        def judge(logits: Tensor, part: slice) -> Tensor:
            within = (heard >= part.start) & (heard < part.stop)
            with torch.no_grad():
                theirs = linear(hidden[within], *output).float()
            return universal_distance(logits[heard[within] - part.start], theirs, self.config.temperature)

        return judge, {"compared": float(len(rows))}

    def _reading(self, batch: Batch) -> tuple[Batch | None, list[int]]:
        """Return what the teacher reads, with the places to hear it at, and the student's rows that they are for."""
        rows_of = {place: row for row, place in enumerate(batch.target_positions.tolist())}
        read: list[list[int]] = []
        places: list[int] = []
        rows: list[int] = []
        start = 0
        for ids in batch.ids[0].split(batch.lengths):
            reading, pairs = self._align(ids.tolist())
            pairs = [(start + ours, theirs) for ours, theirs in pairs if start + ours in rows_of]
            start += len(ids)
            if pairs:
                offset = sum(map(len, read))
                read.append(reading)
                rows += [rows_of[ours] for ours, _ in pairs]
                places += [offset + theirs for _, theirs in pairs]
        if not rows:
            return None, rows
        whole, device = make_batch([_unmarked(ids) for ids in read]), batch.ids.device
        return replace(
            whole,
            ids=whole.ids.to(device),
            positions=whole.positions.to(device),
            target_positions=torch.tensor(places, device=device),
        ), rows

    def _align(self, ids: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
        """Return what the teacher reads of one sequence, and pairs of places with the same text before them."""
        reading, pairs = align(ids, self.student, self.teacher)
        if len(reading) > self._most:
            raise TrainingError(
                f"it reads {self._most} tokens at most, and one of the sequences has {len(reading)}",
                where=WHERE,
                next_step="lower tokenize.context",
            )
        return reading, pairs

    def _check_student(self, ids: Sequence[int]) -> None:
        plain = [number for number in ids if number not in self.student.special]
        spelled = b"".join(self.student.spell(plain)).decode(errors="replace")
        decoded = self.student.tokenizer.decode(plain, clean_up_tokenization_spaces=False)
        if spelled != decoded:
            raise TrainingError(
                f"the student's tokenizer decodes {decoded[:40]!r}, and its tokens spell {spelled[:40]!r}",
                where=WHERE,
                next_step="take a teacher of the student's own tokenizer",
            )


def align(
    ids: Sequence[int], student: Spelling, teacher: Spelling
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the teacher's tokens for the text that ids spell, and pairs (place in ids, place in those).

    At the places of a pair both have read the same bytes; a letter that a cut went through, which only the student
    has seen the end of, is left aside. No pairs where special tokens stand within the text, or where the teacher's
    tokens do not spell it byte for byte.
    """
    plain = [place for place, number in enumerate(ids) if number not in student.special]
    if not plain or plain != list(range(plain[0], plain[-1] + 1)):
        return [], []
    first, spelled = plain[0], student.spell([ids[place] for place in plain])
    head, text = _whole_letters(b"".join(spelled))
    if not text:
        return [], []
    own = encode(teacher.tokenizer, text)
    parts = teacher.spell(own)
    if b"".join(parts) != text.encode():
        return [], []
    reading = [context_token(teacher.tokenizer), *own]
    theirs = {end: place for place, end in enumerate(accumulate(map(len, parts), initial=head))}
    ours = {end: first - 1 + place for place, end in enumerate(accumulate(map(len, spelled), initial=0))}
    pairs = [(place, theirs[end]) for end, place in ours.items() if place >= 0 and end in theirs]
    return reading, pairs


def _whole_letters(data: bytes) -> tuple[int, str]:
    """Return where whole letters begin and the text up to the last whole one: a cut may go through a letter."""
    head = 0
    while head < min(3, len(data)) and data[head] & 0xC0 == 0x80:
        head += 1
    try:
        return head, data[head:].decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return head, ""
        return head, data[head : head + error.start].decode()


def _unmarked(
    ids: Sequence[int],
) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], np.ndarray[Any, np.dtype[np.uint8]]]:
    return np.array(ids, dtype=np.uint32), np.zeros(len(ids), dtype=np.uint8)


def _decoder_steps(decoder: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    yield from (decoder or {}).get("decoders", [decoder] if decoder else [])


def _byte_letters() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for, as GPT-2 defined it."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_letters()
