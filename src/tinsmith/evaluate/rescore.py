"""Let the models of a bundle score some of its texts and questions again, and compare with what is stored."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from tinsmith.base.errors import BundleError
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.families.bits import BitsRow
from tinsmith.evaluate.models import EvalModel, open_tokenizer, opened
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.run import Work, score_texts
from tinsmith.evidence.family import Items
from tinsmith.evidence.items import ChoiceRow, Item
from tinsmith.evidence.schema import GGUF_SUBJECTS, OURS, Precision
from tinsmith.model.load import choose_device

_SAMPLE = 20  # of texts and of questions
# Allowed difference of a score that was computed again: another processor, other batches, bfloat16 rounding.
# Of a choice in nats and as a share, since passages are long; of a text's bits; of the bits of all texts together,
# where rounding averages out.
_SAME_NATS: Mapping[Precision, float] = {"float32": 2e-2, "bfloat16": 0.5}
_SAME_SHARE: Mapping[Precision, float] = {"float32": 0.0, "bfloat16": 0.03}
_SAME_BITS: Mapping[Precision, float] = {"float32": 1e-3, "bfloat16": 0.02}
_SAME_SUM: Mapping[Precision, float] = {"float32": 5e-4, "bfloat16": 0.005}

_Row = TypeVar("_Row")


class Rescored(NamedTuple):
    """How many texts and questions were scored again, by which subjects, and on which device."""

    scores: int
    subjects: tuple[str, ...]
    device: str


@dataclass(frozen=True)
class _Sample:
    """What is asked again: the openings of documents, and questions without examples before them."""

    texts: Sequence[HeldOutText]
    questions: Sequence[Item]
    window: int
    precision: Precision

    @property
    def work(self) -> Work:
        """Return the sample as evaluate's work, so that it is scored as it was at first."""
        return Work(self.texts, self.window, {"": self.questions}, {("", 0): ()}, (), self.precision)


def rescore(
    bundle: Path, items: Items, *, window: int, precision: Precision, device: str, seed: int | None = None
) -> Rescored:
    """Score a sample of the texts and questions with our model and each GGUF file of it that was measured.

    A new sample is drawn each time unless a seed is given, so that nobody can prepare for it. `precision` is what the
    bundle's figures say they were scored in; here all is computed in float32. `device` is the recipe's: cpu is kept
    to, and elsewhere a GPU is used where this machine has one. Raises BundleError for the first text or question whose
    score differs, or where there is none.
    """
    place = choose_device("cpu" if device == "cpu" else "auto")
    sample = _draw(items, window, precision, np.random.default_rng(seed))
    if not sample.texts and not sample.questions:
        raise BundleError(
            "has neither texts nor questions that could be scored again",
            where=str(items.folder),
            next_step="build it again; bundles of this version hold the texts that were scored",
        )
    count, subjects = 0, []
    for model in _models(bundle):
        if model.subject not in items.subjects:
            continue
        tokenizer = open_tokenizer(model)
        with opened(model, "float32", place) as scorer:
            bits, answers = score_texts(
                scorer, tokenizer, sample.work, progress=SilentProgress(), label=model.subject
            )
        _compare_bits(model, bits, items, precision)
        _compare_answers(model, answers, items, precision)
        subjects.append(model.subject)
        count += len(bits) + len(answers)
    return Rescored(count, tuple(subjects), place.type)


def _models(bundle: Path) -> Iterator[EvalModel]:
    yield EvalModel(OURS, OURS, bundle / "model", "")
    for format, subject in GGUF_SUBJECTS.items():
        path = bundle / "gguf" / f"model-{format}.gguf"
        if path.is_file():
            yield EvalModel(subject, subject, path, "")


def _draw(items: Items, window: int, precision: Precision, generator: np.random.Generator) -> _Sample:
    def some(rows: Iterable[_Row]) -> list[_Row]:
        known = list(rows)
        return [known[i] for i in sorted(generator.permutation(len(known))[:_SAMPLE])]

    texts = some(HeldOutText(doc_id, text, 0.0) for doc_id, text in items.texts.items())
    # Only questions without examples: the examples before the others are not stored.
    plain = {row["item"] for row in items.rows("exam", [OURS]).get(OURS, []) if not row["shots"]}
    questions = some(item for name, item in items.questions.items() if name in plain)
    return _Sample(texts, questions, window, precision)


def _compare_bits(model: EvalModel, rows: Sequence[BitsRow], items: Items, precision: Precision) -> None:
    own: Sequence[BitsRow] = items.rows("bits", [model.subject])[model.subject]
    stored = {row["doc_id"]: row["bits"] for row in own}
    for row in rows:
        if not _near(row["bits"], stored[row["doc_id"]], _SAME_BITS[precision]):
            raise _different(model, f"document {row['doc_id']}", row["bits"], stored[row["doc_id"]], "bits")
    total, known = (math.fsum(values) for values in _pairs(rows, stored))
    if not _near(total, known, _SAME_SUM[precision]):
        raise _different(model, f"{len(rows)} documents together", total, known, "bits")


def _pairs(rows: Sequence[BitsRow], stored: Mapping[str, float]) -> tuple[list[float], list[float]]:
    return [row["bits"] for row in rows], [stored[row["doc_id"]] for row in rows]


def _near(value: float, stored: float, share: float) -> bool:
    # Written so that NaN is a difference.
    return abs(value - stored) <= share * max(abs(value), 1.0)


def _compare_answers(model: EvalModel, rows: Sequence[ChoiceRow], items: Items, precision: Precision) -> None:
    own: Sequence[ChoiceRow] = items.rows("exam", [model.subject]).get(model.subject, [])
    stored = {row["item"]: row["scores"] for row in own if not row["shots"]}
    for row in rows:
        for choice, value in row["scores"].items():
            known = stored[row["item"]].get(choice, math.inf)
            allowed = _SAME_NATS[precision] + _SAME_SHARE[precision] * abs(value)
            if not abs(value - known) < allowed:
                raise _different(model, f"item {row['item']}", value, known, "nats")


def _different(model: EvalModel, what: str, value: float, stored: float, unit: str) -> BundleError:
    return BundleError(
        f"scores {what} differently from what is stored ({value:.6g} {unit}, not {stored:.6g})",
        where=str(model.path),
        next_step="these weights are not those that were measured; do not trust this bundle",
    )
