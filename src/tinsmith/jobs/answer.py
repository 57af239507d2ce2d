"""Answers to questions about a passage: a span and its sentence, or other words and the quote they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tinsmith.jobs.ask import NONE, Ask, JobAnswerer, Reply, Result
from tinsmith.jobs.calibration import answer_confidence
from tinsmith.jobs.grammar import held_replies, span_grammar
from tinsmith.jobs.spans import FoldedText, fold, sentence_around
from tinsmith.jobs.spec import Job

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

QUOTE_MARK = " << "  # between an answer in other words and its quote


def ask(job: Job, row: dict[str, Any]) -> Ask:
    """Return the ask of a row: its question is a template over its record."""
    written = _written(row) if "answer" in row else None
    return Ask(row["input"], job.question(row.get("record", {})), written)


def needs_quote(row: dict[str, Any]) -> bool:
    """Say whether an example answers in words that its text does not hold, and quotes what it rests on."""
    right = row["answer"]
    return bool(right and right.get("quote")) and not FoldedText(row["input"]).places(right["answer"])


def results(
    job: Job, rows: Sequence[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, model: JobAnswerer
) -> list[Result]:
    """Ask a model about each row. An answer that its text does not hold is withheld."""
    asked = [ask(job, {"input": row["input"], "record": row.get("record", {})}) for row in rows]
    none = model.none_probabilities(asked) or [0.0] * len(asked)
    there = [number for number, chance in enumerate(none) if not job.calibration.says_none(chance)]
    mark = "" if job.verbatim else QUOTE_MARK
    grammars = [span_grammar(asked[number].text, quote_mark=mark) for number in there]

    def fits(place: int, reply: Reply) -> bool:
        found = read_answer(reply, asked[there[place]].text, none=0.0)
        return found.answer is not None and not found.withheld

    written = held_replies(model, [asked[number] for number in there], grammars, fits)
    replies = dict(zip(there, written, strict=True))
    found = [
        read_answer(replies[number], one.text, none=chance) if number in replies else Result(None, chance)
        for number, (one, chance) in enumerate(zip(asked, none, strict=True))
    ]
    return [_calibrated(job, one, value=number in replies) for number, one in enumerate(found)]


def _calibrated(job: Job, result: Result, *, value: bool) -> Result:
    assert result.confidence is not None
    return replace(result, confidence=answer_confidence(job, result.confidence, value=value))


def read_answer(reply: Reply, text: str, *, none: float) -> Result:
    """Read what a model wrote about a text; `none` is its probability of "none". Nothing is calibrated yet."""
    written, folded = fold(reply.text), FoldedText(text)
    confidence = (1 - none) * reply.confidence
    if written in ("", NONE):
        return Result(None, reply.confidence)
    if not reply.ended:
        return Result(None, confidence, withheld=f"the answer does not fit into the context: {written}")
    places = folded.places(written)
    if places:
        return Result({"answer": written, "quote": sentence_around(text, *places[0])}, confidence)
    words, mark, quote = written.rpartition(QUOTE_MARK)
    places = folded.places(quote) if mark and words.strip() else []
    if not places:
        return Result(None, confidence, withheld=f"the text does not hold it: {written}")
    start, end = places[0]
    return Result({"answer": words.strip(), "quote": text[start:end]}, confidence)


def _written(row: dict[str, Any]) -> str:
    if row["answer"] is None:
        return NONE
    words = fold(row["answer"]["answer"])
    return f"{words}{QUOTE_MARK}{fold(row['answer']['quote'])}" if needs_quote(row) else words
