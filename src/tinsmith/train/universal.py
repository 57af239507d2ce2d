"""A teacher with another tokenizer: it reads the same text and is compared where both have just ended a token."""

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
from torch.nn.functional import pad
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import Progress
from tinsmith.model.load import check_context
from tinsmith.model.output_layer import output_layer
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batch, Batches, make_batch
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.train.chunked_loss import ChunkLoss
from tinsmith.train.teachers import WHERE, Source, check_teacher, teacher_hidden

_SAMPLE_SEQUENCES = 200  # read before the first step, to report how much can be compared


class Spelling:
    """The bytes that each token of a tokenizer represents."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        """Raise TrainingError for a tokenizer that is neither byte-level nor SentencePiece."""
        self.tokenizer = tokenizer
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        steps = list(_decoder_steps(backend["decoder"]))
        kinds = {step["type"] for step in steps}
        if not kinds & {"ByteLevel", "ByteFallback", "Metaspace"}:
            raise TrainingError(
                "one of the two tokenizers is neither byte-level nor SentencePiece, so their tokens cannot be aligned",
                where=WHERE,
                next_step="use a teacher with the student's own tokenizer",
            )
        self._byte_level = "ByteLevel" in kinds
        # A SentencePiece model puts a space before a text and removes it again when it decodes.
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

    The teacher reads the text that the student's tokens spell, after its own begin token. Where both end a token at
    the same byte, both predict what follows the same text; there, the L1 distance of their sorted next-token
    probabilities counts. Positions where only the student ends a token count nothing, nor do sequences that a
    tokenizer does not spell byte for byte.
    """

    scale = 1.0

    def __init__(self, config: DistilConfig, source: Source, student: Spelling, teacher: Spelling) -> None:
        """Raise TrainingError for settings that have no meaning between two vocabularies."""
        for name, value in (("reverse", config.reverse), ("top_k", config.top_k)):
            if value:
                raise TrainingError(
                    "has no meaning for a teacher with another tokenizer, whose probabilities are compared by rank",
                    where=f"train.distil.{name}",
                    next_step="set it to 0",
                )
        self.config, self.source, self.student, self.teacher = config, source, student, teacher

    def prepare(self, model: PreTrainedModel, batches: Batches, cache: Path, progress: Progress) -> None:
        """Open the teacher and report how many token boundaries both share. Raises TrainingError if there are none."""
        self._model = self.source.load().eval().requires_grad_(False).to(model.device)
        tokens = batches.tokens
        sampled = np.linspace(0, len(tokens) - 1, min(len(tokens), _SAMPLE_SEQUENCES), dtype=np.int64)
        texts = [tokens.sequence(int(number))[0].tolist() for number in sampled]
        for ids in texts:
            self._check_student(ids)
        aligned = [self._align(ids) for ids in texts]
        shared = sum(len(pairs) for _, pairs in aligned)
        progress.say(
            f"  teacher: it ends a token with the student at {shared / sum(map(len, texts)):.0%} of the positions; "
            f"{sum(1 for _, pairs in aligned if pairs)} of {len(texts)} sampled sequences are spelled alike"
        )
        if not shared:
            raise TrainingError(
                "its tokens never end where the student's do", where=WHERE, next_step="use another teacher"
            )
        sample = next(ids for ids, pairs in aligned if pairs)[:64]
        check_teacher(self._model, make_batch([_unmarked(sample)]))

    def compare(self, batch: Batch) -> tuple[ChunkLoss, dict[str, float]]:
        """Return the distance at the positions where both end a token; `compared` counts them."""
        reading, rows = self._reading(batch)
        device = batch.ids.device
        if reading is None:
            return lambda logits, _: logits.new_zeros(()), {"compared": 0.0}
        hidden, output = teacher_hidden(self._model, reading), output_layer(self._model)
        compared = torch.tensor(rows, device=device)

        def distance(logits: Tensor, chunk: slice) -> Tensor:
            within = (compared >= chunk.start) & (compared < chunk.stop)
            with torch.no_grad():
                theirs = output.logits(hidden[within])
            return universal_distance(logits[compared[within] - chunk.start], theirs, self.config.temperature)

        return distance, {"compared": float(len(rows))}

    def _reading(self, batch: Batch) -> tuple[Batch | None, list[int]]:
        """Return what the teacher reads, its target positions, and the student's row that each is compared with."""
        rows_of = {position: row for row, position in enumerate(batch.target_positions.tolist())}
        read: list[list[int]] = []
        positions: list[int] = []
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
                positions += [offset + theirs for _, theirs in pairs]
        if not rows:
            return None, rows
        whole, device = make_batch([_unmarked(ids) for ids in read]), batch.ids.device
        return replace(
            whole,
            ids=whole.ids.to(device),
            positions=whole.positions.to(device),
            target_positions=torch.tensor(positions, device=device),
        ), rows

    def _align(self, ids: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
        """Return what the teacher reads of one sequence, and pairs of positions that follow the same text."""
        reading, pairs = align(ids, self.student, self.teacher)
        check_context(self._model, len(reading), where=WHERE)
        return reading, pairs

    def _check_student(self, ids: Sequence[int]) -> None:
        plain = [number for number in ids if number not in self.student.special]
        spelled = b"".join(self.student.spell(plain)).decode(errors="replace")
        decoded = self.student.tokenizer.decode(plain, clean_up_tokenization_spaces=False)
        if spelled != decoded:
            raise TrainingError(
                f"the student's tokenizer decodes {decoded[:40]!r}, and its tokens spell {spelled[:40]!r}",
                where=WHERE,
                next_step="use a teacher with the student's own tokenizer",
            )


def align(
    ids: Sequence[int], student: Spelling, teacher: Spelling
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the teacher's tokens for the text that ids spell, and pairs (position in ids, position in those).

    At the positions of a pair both have read the same bytes. A character cut by the sequence's start or end is left
    out. There are no pairs where special tokens interrupt the text, or where the teacher's tokens do not spell it.
    """
    plain = [position for position, token in enumerate(ids) if token not in student.special]
    if not plain or plain != list(range(plain[0], plain[-1] + 1)):
        return [], []
    first, spelled = plain[0], student.spell([ids[position] for position in plain])
    head, text = _whole_letters(b"".join(spelled))
    if not text:
        return [], []
    tokens = encode(teacher.tokenizer, text)
    respelled = teacher.spell(tokens)
    if b"".join(respelled) != text.encode():
        return [], []
    theirs = {end: index for index, end in enumerate(accumulate(map(len, respelled), initial=head))}
    ours = {end: first - 1 + index for index, end in enumerate(accumulate(map(len, spelled), initial=0))}
    pairs = [(position, theirs[end]) for end, position in ours.items() if position >= 0 and end in theirs]
    return [context_token(teacher.tokenizer), *tokens], pairs


def _whole_letters(data: bytes) -> tuple[int, str]:
    """Return where whole characters begin, and the text of all whole ones: a sequence may be cut within one."""
    head = 0
    while head < min(3, len(data)) and data[head] & 0xC0 == 0x80:
        head += 1
    try:
        return head, data[head:].decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data":
            return head, ""
        return head, data[head : head + error.start].decode()


def universal_distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return the summed L1 distance of sorted probabilities (Universal Logit Distillation, arXiv:2402.12030).

    Logits (n, V) and (n, W) of any two vocabularies; the shorter rows are padded with zeros.
    """
    ours, theirs = (_sorted((logits / temperature).softmax(dim=1)) for logits in (student, teacher))
    width = max(ours.shape[1], theirs.shape[1])
    ours, theirs = (pad(rows, (0, width - rows.shape[1])) for rows in (ours, theirs))
    return (ours - theirs).abs().sum()


def _sorted(values: Tensor) -> Tensor:
    """Sort each row of (n, V) in descending order."""
    if values.device.type != "cpu":
        return values.sort(dim=1, descending=True).values
    # On the CPU numpy sorts with vector instructions, at least four times as fast as torch.
    order = np.argsort(-values.detach().numpy(), axis=1)
    return values.gather(1, torch.from_numpy(order))


def _unmarked(
    ids: Sequence[int],
) -> tuple[np.ndarray[Any, np.dtype[np.uint32]], np.ndarray[Any, np.dtype[np.uint8]]]:
    return np.array(ids, dtype=np.uint32), np.zeros(len(ids), dtype=np.uint8)


def _decoder_steps(decoder: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    yield from (decoder or {}).get("decoders", [decoder] if decoder else [])


def _byte_letters() -> dict[str, int]:
    """Return the byte for each character of a byte-level vocabulary, as GPT-2 defined it."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTES = _byte_letters()
