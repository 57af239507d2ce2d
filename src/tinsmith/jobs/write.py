"""Kind write: a record in, a text or JSON out, held to the numbers of its input if a check says so."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tinsmith.base.numerals import numerals
from tinsmith.jobs.ask import Ask, JobAnswerer, Reply, Result
from tinsmith.jobs.checks import Checks, Row
from tinsmith.jobs.grammar import LINE, literal
from tinsmith.jobs.json_answer import Schema, json_grammar, json_text, read_json_answer
from tinsmith.jobs.scoring import span_f1
from tinsmith.jobs.spec import Job

_DIGIT = r"0-9²³¹⁰-⁹₀-₉¼-¾⅐-⅞"
_JOINER = r".,'’\u00A0\u2009\u202F"  # one of these alone between two numbers would make them one


def ask(job: Job, row: Row) -> Ask:
    """Return the ask of a row; its answer is one line, in which a line end is written as \\n."""
    right = row.get("answer")
    question = job.question(row.get("record", {}))
    return Ask(row["input"], question, None if right is None else one_line(right))


def results(job: Job, rows: Sequence[Row], checks: Checks, model: JobAnswerer) -> list[Result]:
    """Ask a model about each row; the checks say which numbers may be written."""
    asked = [ask(job, {"input": row["input"], "record": row.get("record", {})}) for row in rows]
    grammars = [grammar_of(checks, row) for row in rows]
    return [read_reply(reply) for reply in model.replies(asked, grammars)]


def read_reply(reply: Reply) -> Result:
    """Read what a model wrote. A text that was cut before its end, or is empty, is withheld."""
    text = several_lines(reply.text.strip())
    withheld = "" if reply.ended and text else "the text has no end" if text else "the text is empty"
    return Result(None if withheld else text, None, withheld=withheld)


def one_line(text: str) -> str:
    """Return a text with its line ends written as \\n, since a line end closes an answer."""
    return re.sub(r"\s*\n\s*", r"\\n", text.strip().replace("\\", r"\\"))


def several_lines(text: str) -> str:
    """Return the text that `one_line` wrote."""
    return re.sub(r"\\([n\\])", lambda match: "\n" if match[1] == "n" else "\\", text)


def example_answer(checks: Checks, text: str) -> str:
    """Return the answer of an example as it is learnt. Raises ValueError if it is not of the job's schema."""
    schema = checks.schema
    return text if schema is None else json_text(read_json_answer(text, schema), schema)


def grammar_of(checks: Checks, row: Row) -> str:
    """Return the grammar of the answer to a row: its schema's, or text with the numbers that its checks allow."""
    if checks.schema is not None:
        return json_grammar(checks.schema)
    sources = checks.number_sources(row)
    return LINE if sources is None else numbers_grammar(sources)


def numbers_grammar(sources: Sequence[str | Fraction]) -> str:
    """Return the grammar of a line in which figures are numbers of the sources, as written there or plainly.

    It is narrower than "every number stands in the sources", and says nothing of numbers in words, signs and scales:
    the check remains the judge.
    """
    spelt = list(dict.fromkeys(spelling for source in sources for spelling in _spellings(source)))
    # Text between two numbers, and text that begins the line; a joiner alone is neither.
    rules = [
        f"gap ::= [^{_DIGIT}{_JOINER}\\n] [^{_DIGIT}\\n]* | [{_JOINER}] [^{_DIGIT}\\n]+",
        f"start ::= [^ {_DIGIT}{_JOINER}\\n] [^{_DIGIT}\\n]* | [{_JOINER}] [^{_DIGIT}\\n]+",
    ]
    if not spelt:
        return "\n".join(['root ::= " " start "\\n"', rules[1]]) + "\n"
    return (
        "\n".join(
            [
                'root ::= " " (start figures? | figures) "\\n"',
                "figures ::= number (gap number)* gap?",
                f"number ::= {' | '.join(spelt)}",
                *rules,
            ]
        )
        + "\n"
    )


def _spellings(source: str | Fraction) -> Iterator[str]:
    """Yield how the numbers of a source may be written, as parts of a grammar."""
    if isinstance(source, Fraction):
        yield from _plainly(source)
        return
    for numeral in numerals(source):
        written = re.search(r"\d(?:.*\d)?", numeral.text)
        if written and written[0].isascii():
            yield literal(written[0])
        yield from _plainly(numeral.figures)
        if numeral.scale > 1:
            yield from _plainly(numeral.value)


def _plainly(number: Fraction) -> Iterator[str]:
    """Yield a number without its sign: plain and with commas between thousands, with up to two noughts behind it."""
    number = abs(number)
    places = next((places for places in range(13) if (number * 10**places).denominator == 1), None)
    if places is None:
        return
    whole, rest = divmod(int(number * 10**places), 10**places)
    decimals = f".{rest:0{places}d}" if places else ""
    noughts = '"0"?' if places == 1 else '("." "0" "0"?)?' if not places else ""
    for text in dict.fromkeys((f"{whole}{decimals}", f"{whole:,}{decimals}")):
        yield f"{literal(text)} {noughts}".rstrip()


def agreement(schema: Schema | None, given: str, right: str) -> float:
    """Return how far a text agrees with the right one, 0 to 1: the share of equal values of JSON, else F1 of words."""
    if schema is None:
        return span_f1(given, right)
    try:
        values = [dict(_leaves(read_json_answer(text, schema), "")) for text in (given, right)]
    except ValueError:
        return 0.0
    names = values[0].keys() | values[1].keys()
    missing = object()
    equal = sum(values[0].get(name, missing) == values[1].get(name, missing) for name in names)
    return equal / len(names) if names else 1.0


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    parts = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else None
    )
    if parts is None:
        yield place, value
        return
    for name, each in parts:
        yield from _leaves(each, f"{place}/{name}")
