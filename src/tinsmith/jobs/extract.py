"""Extraction: each field is asked for in the passages of an input, and each answer is a span that stands there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, Any

from tinsmith.jobs.ask import SEPARATOR, Ask, JobAnswerer, Reply, Result
from tinsmith.jobs.calibration import answer_confidence
from tinsmith.jobs.grammar import held_replies, span_grammar
from tinsmith.jobs.look import LookedAt
from tinsmith.jobs.passages import Passage, passages
from tinsmith.jobs.schema import Field, fields_of
from tinsmith.jobs.spans import FoldedText, Value, fold, listed_spans, read_spans, value_of
from tinsmith.jobs.spec import Job, answer_room
from tinsmith.tokens.encoding import encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WITHOUT = 2  # passages without a value that an example keeps of a field, at most, beside those with one
SLACK = 4  # tokens between the parts of a prompt


def asks(job: Job, row: dict[str, Any], tokenizer: PreTrainedTokenizerFast) -> list[Ask]:
    """Return the asks of a row; with `answer`, of a field's passages those with a value and a few without."""
    text, fields = row["input"], fields_of(job.config)
    parts = cut(job, text, tokenizer, fields)
    texts = [text[part.start : part.end] for part in parts]
    look = job.look
    scores = look.scores(texts) if look else {field.name: [0.0] * len(texts) for field in fields}
    orders = {name: _likeliest_first(of) for name, of in scores.items()}
    most = {field.name: look.fields[field.name].asked if look else len(texts) for field in fields}
    wanted: list[tuple[int, Field, list[str] | None]]
    if "answer" in row:
        wanted = list(_learnt(row, fields, [FoldedText(part) for part in texts], orders, most))
    else:
        wanted = [(at, field, None) for field in fields for at in orders[field.name][: most[field.name]]]
    # All fields of a passage follow each other, so that its tokens are read once.
    return [
        Ask(
            texts[at],
            field.question,
            None if spans is None else listed_spans(spans),
            field.name,
            parts[at].start,
            scores[field.name][at],
        )
        for at, field, spans in sorted(wanted, key=lambda item: item[0])
    ]


def _likeliest_first(scores: Sequence[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda at: -scores[at])


def cut(job: Job, text: str, tokenizer: PreTrainedTokenizerFast, fields: Sequence[Field]) -> list[Passage]:
    """Cut an input into passages that leave room for every question and answer."""
    question = max(len(encode(tokenizer, f"\n\n{field.question}")) for field in fields)
    return passages(tokenizer, text, max(16, job.config.context - answer_room(job) - question - SLACK))


@dataclass(frozen=True)
class Placed:
    """Where an input's passages hold the values of a field."""

    held: dict[int, list[str]]  # by passage, its values
    doubtful: frozenset[int]  # other passages with the same words, which may mean something else
    nowhere: list[str]  # values that no passage holds whole


def place_values(values: Iterable[str], folded: Sequence[FoldedText]) -> Placed:
    """Find the fewest passages that together hold the values: the one with the most of them first."""
    wanted = list(dict.fromkeys(map(fold, values)))
    holds = {value: [at for at, text in enumerate(folded) if text.places(value)] for value in wanted}
    nowhere, left = (
        [value for value in wanted if not holds[value]],
        [value for value in wanted if holds[value]],
    )
    held: dict[int, list[str]] = {}
    while left:
        at = max(range(len(folded)), key=lambda place: (sum(place in holds[value] for value in left), -place))
        here = [value for value in wanted if at in holds[value]]
        held[at] = sorted(here, key=lambda value: folded[at].text.find(value))
        left = [value for value in left if at not in holds[value]]
    return Placed(held, frozenset(at for places in holds.values() for at in places) - set(held), nowhere)


def looked_at(
    job: Job, row: dict[str, Any], tokenizer: PreTrainedTokenizerFast
) -> tuple[LookedAt, list[str]]:
    """Return what a look learns from a row of examples, and the values that no passage holds whole."""
    fields = fields_of(job.config)
    texts = [row["input"][part.start : part.end] for part in cut(job, row["input"], tokenizer, fields)]
    folded = [FoldedText(text) for text in texts]
    placed = {field.name: place_values(row["answer"].get(field.name, []), folded) for field in fields}
    held = {name: frozenset(one.held) for name, one in placed.items()}
    doubtful = {name: one.doubtful for name, one in placed.items()}
    return LookedAt(texts, held, doubtful), [value for one in placed.values() for value in one.nowhere]


def results(
    job: Job, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, model: JobAnswerer
) -> list[Result]:
    """Ask a model for each field of each row, and merge what it found in the passages.

    First it says for every ask how likely "none" is, and the first look beside it. Only where that is below the job's
    threshold is a value asked for: of a single value in the likeliest passage, of a list in all.
    """
    fields = fields_of(job.config)
    asked = [asks(job, {"input": row["input"]}, tokenizer) for row in rows]
    every = [one for row in asked for one in row]
    told, scale = model.none_probabilities(every), job.calibration.none_scale
    none = {id(one): scale.chance(told[place], one) if told else 0.0 for place, one in enumerate(every)}
    wanted: list[Ask] = []
    for row in asked:
        for field in fields:
            likely = sorted((one for one in row if one.field == field.name), key=lambda one: none[id(one)])
            likely = [one for one in likely if not job.calibration.says_none(none[id(one)], field.name)]
            # Where a model does not tell its probabilities, all its answers are compared.
            tells = bool(likely) and none[id(likely[0])] > 0
            wanted += likely[:1] if tells and not field.several else likely
    by_name = {field.name: field for field in fields}
    grammars = [span_grammar(one.text, several=by_name[one.field].several) for one in wanted]

    def fits(place: int, reply: Reply) -> bool:
        field = by_name[wanted[place].field]
        # Of a list, what the text does not hold is left out.
        return reply.ended and bool(read_spans(reply.text, FoldedText(wanted[place].text), field)[0])

    replies = dict(zip(map(id, wanted), held_replies(model, wanted, grammars, fits), strict=True))
    return [_merge(job, [(one, none[id(one)], replies.get(id(one))) for one in row]) for row in asked]


def _merge(job: Job, found: Sequence[tuple[Ask, float, Reply | None]]) -> Result:
    """Merge the answers of a row's passages into one result for each field.

    The row is as sure as its fields are on average, so that its confidence is the share of them expected to be right.
    """
    values: dict[str, list[Value]] = {}
    sure, reasons = list[float](), []
    for field in fields_of(job.config):
        mine = [item for item in found if item[0].field == field.name]
        values[field.name] = []
        for ask, none, reply in mine:
            if reply is None:
                continue
            said = reply.text
            if not reply.ended:
                # The last value may be cut within; those before it are whole.
                said = said.rpartition(SEPARATOR)[0] if field.several else ""
                reasons.append(f"{field.name}: the answer does not fit into the context: {reply.text}")
            spans, reason = read_spans(said, FoldedText(ask.text), field)
            if reason:
                reasons.append(f"{field.name}: {reason}")
            confidence = answer_confidence(job, (1 - none) * reply.confidence, value=True)
            values[field.name] += [
                value_of(field, span, offset=ask.start, confidence=confidence) for span in spans
            ]
        values[field.name] = _distinct(values[field.name], several=field.several)
        given = [value.confidence for value in values[field.name]]
        least = min((none for _, none, _ in mine), default=1.0)
        sure.append(fmean(given) if given else answer_confidence(job, least))
    answer = {name: [value.text for value in found] for name, found in values.items()}
    return Result(answer, fmean(sure), fields=values, notes=tuple(reasons))


def _distinct(values: list[Value], *, several: bool) -> list[Value]:
    """Return each value once, the surest of those that read alike; of a single field the surest alone."""
    best: dict[str, Value] = {}
    for value in sorted(values, key=lambda value: -value.confidence):
        best.setdefault(fold(value.text).casefold(), value)
    kept = list(best.values())
    return sorted(kept, key=lambda value: value.start) if several else kept[:1]


def _learnt(
    row: dict[str, Any],
    fields: Sequence[Field],
    folded: Sequence[FoldedText],
    orders: Mapping[str, Sequence[int]],
    most: Mapping[str, int],
) -> Iterator[tuple[int, Field, list[str]]]:
    """Yield what an example teaches: the passages with a value of each field, and a few likely ones without.

    The likeliest passages of a field stand first in `orders`; it is asked in `most` of them. Those without a value are
    read for another field where there are such, since their tokens are read once; one may be read for this field alone.
    """
    placed = {field.name: place_values(row["answer"].get(field.name, []), folded) for field in fields}
    read = {at for one in placed.values() for at in one.held}
    for field in fields:
        one, values = placed[field.name], None if field.several else 1
        yield from ((at, field, spans[:values]) for at, spans in one.held.items())
        without = [at for at in orders[field.name] if at not in one.held and at not in one.doubtful]
        without = without[: most[field.name]]
        Random(f"{row['id']} {field.name}").shuffle(without)
        likely = sorted(without, key=lambda at: at not in read)
        chosen = [at for place, at in enumerate(likely[:WITHOUT]) if place == 0 or at in read]
        read.update(chosen)
        yield from ((at, field, []) for at in chosen)
