"""Write token sets of conversations and preferences, with a reason for everything left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import write_jsonl
from tinsmith.tokens.chat import ChatEncoder, Encoded, Message, Refused, is_opening, is_target
from tinsmith.tokens.examples import Conversation, Preference, Rejects
from tinsmith.tokens.shards import ShardWriter, visiting_order


def write_sft(
    examples: Sequence[Conversation],
    encoder: ChatEncoder,
    rejects: Rejects,
    *,
    context: int,
    seed: int,
    out: Path,
) -> dict[str, float]:
    """Write the token set of conversations and `rejects.jsonl`; return statistics.

    A conversation longer than `context` is divided between turns, with its system message before each part. A longer
    single exchange is left out. Raises CorpusError if a conversation has no answer or none is left, RecipeError if
    answers cannot be located in the rendered template.
    """
    out.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(out)
    counts = {"conversations": 0, "divided": 0, "rejected": _rejected_lines(rejects)}
    for example in examples:
        parts = _parts(example, encoder, rejects, context)
        for number, part in enumerate(parts):
            writer.add(example.where, number, part.ids, part.marks, example.task)
        counts["conversations"] += bool(parts)
        counts["divided"] += len(parts) > 1
        counts["rejected"] += not parts
    order = visiting_order([(entry.order, entry.doc_id) for entry in writer.entries], seed)
    return _close(
        writer, rejects, order, {"context": context, "vocabulary": len(encoder.tokenizer)}, counts, "sft"
    )


def write_dpo(
    examples: Sequence[Preference],
    encoder: ChatEncoder,
    rejects: Rejects,
    *,
    context: int,
    seed: int,
    out: Path,
) -> dict[str, float]:
    """Write the token set of pairs, chosen before rejected, and `rejects.jsonl`; return statistics.

    Raises CorpusError if no pair is left, RecipeError if answers cannot be located in the rendered template.
    """
    out.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(out)
    counts = {"pairs": 0, "rejected": _rejected_lines(rejects)}
    for example in examples:
        pair = _pair(example, encoder, rejects, context)
        for answer in pair:
            writer.add(example.where, 0, answer.ids, answer.marks, example.task)
        counts["pairs"] += bool(pair)
        counts["rejected"] += not pair
    pairs = visiting_order([(entry.order, entry.doc_id) for entry in writer.entries[::2]], seed)
    order = [2 * number + side for number in pairs for side in (0, 1)]
    facts = {"context": context, "vocabulary": len(encoder.tokenizer), "group": 2}
    return _close(writer, rejects, order, facts, counts, "dpo")


def _rejected_lines(rejects: Rejects) -> int:
    return len({(row["source"], row["line"]) for row in rejects.rows})


def _close(
    writer: ShardWriter,
    rejects: Rejects,
    order: Sequence[int],
    facts: dict[str, int],
    counts: dict[str, int],
    name: str,
) -> dict[str, float]:
    writer.close(order, facts)
    write_jsonl(writer.directory / "rejects.jsonl", rejects.rows)
    if not writer.entries:
        reasons = ", ".join(sorted({row["reason"] for row in rejects.rows})) or "no examples were given"
        raise CorpusError(
            f"no example is left for {name} ({reasons})",
            where=str(writer.directory / "rejects.jsonl"),
            next_step="correct what this file lists, or choose another train.objective",
        )
    counts |= {"sequences": len(writer.entries), "tokens": writer.tokens}
    counts["supervised_tokens"] = writer.supervised
    return {f"{name}_{figure}": count for figure, count in counts.items()}


def _parts(example: Conversation, encoder: ChatEncoder, rejects: Rejects, context: int) -> list[Encoded]:
    """Return a conversation as sequences of at most `context` tokens; add what is left out to `rejects`."""
    said = [number for number, message in enumerate(example.messages) if message.role == "assistant"]
    learnt = [number for number in said if is_target(example.messages, number)]
    if said and not learnt:
        answered = not is_opening(example.messages, said[-1])
        reason = "nothing_learnt" if answered else "nobody_asks"
        why = "no answer is to be learnt" if answered else "the assistant speaks, and answers nobody"
        rejects.add(example, reason, why)
        return []
    if not learnt:
        raise CorpusError(
            "the conversation has no message of the assistant to learn from",
            where=example.where,
            next_step="add an answer, or remove the line",
        )
    messages = example.messages[: learnt[-1] + 1]
    if len(messages) < len(example.messages):
        rejects.add(
            example,
            "unanswered_end",
            f"{len(example.messages) - len(messages)} messages after the last answer that is learnt",
        )
    try:
        whole = encoder.encode(messages, where=example.where)
        if len(whole.ids) <= context:
            return [whole]
        parts = list(_divide(example, messages, encoder, rejects, context))
    except Refused as refusal:
        rejects.add(example, "template_refuses", str(refusal))
        return []
    if len(parts) > 1:
        rejects.add(example, "divided", f"{len(whole.ids)} tokens into {len(parts)} parts")
    return parts


def _divide(
    example: Conversation,
    messages: Sequence[Message],
    encoder: ChatEncoder,
    rejects: Rejects,
    context: int,
) -> Iterator[Encoded]:
    """Yield parts of as many exchanges as fit and have an answer to learn, each after the system message."""
    system = [message for message in messages[:1] if message.role == "system"]
    part: list[Message] = []
    fitting: Encoded | None = None
    for exchange in _exchanges(messages[len(system) :]):
        longer = encoder.encode([*system, *part, *exchange], where=example.where)
        if fitting and len(longer.ids) > context:
            if any(fitting.marks):
                yield fitting
            part, fitting = [], None
            longer = encoder.encode([*system, *exchange], where=example.where)
        if len(longer.ids) > context:
            size = f"an exchange of {len(longer.ids)} tokens, while the context is {context}"
            rejects.add(example, "longer_than_context", size)
            continue
        part, fitting = [*part, *exchange], longer
    if fitting and any(fitting.marks):
        yield fitting


def _exchanges(messages: Sequence[Message]) -> list[list[Message]]:
    """Cut a conversation before each message that follows an answer and is not one itself.

    What the assistant says before anybody asks belongs to the first exchange.
    """
    exchanges: list[list[Message]] = []
    before = "assistant"
    for number, message in enumerate(messages):
        follows = message.role != "assistant" and not is_opening(messages, number)
        if before == "assistant" and (follows or not exchanges):
            exchanges.append([])
        exchanges[-1].append(message)
        before = message.role
    return exchanges


def _pair(example: Preference, encoder: ChatEncoder, rejects: Rejects, context: int) -> tuple[Encoded, ...]:
    """Return the prompt with the chosen and with the rejected answer; () and a reject if they cannot be used."""
    known = len(example.messages)
    if is_opening(example.messages, known):
        rejects.add(example, "nobody_asks", "the answers answer nobody")
        return ()
    answers = (Message("assistant", text) for text in (example.chosen, example.rejected))
    try:
        chosen, rejected = (
            encoder.encode([*example.messages, answer], where=example.where, known=known)
            for answer in answers
        )
    except Refused as refusal:
        rejects.add(example, "template_refuses", str(refusal))
        return ()
    prompt = chosen.marks.index(1)
    assert rejected.marks.index(1) == prompt
    assert chosen.ids[:prompt] == rejected.ids[:prompt]
    longest = max(len(chosen.ids), len(rejected.ids))
    if chosen.ids == rejected.ids:
        rejects.add(example, "equal_answers", "both answers are the same")
    elif longest > context:
        rejects.add(example, "longer_than_context", f"{longest} tokens, while the context is {context}")
    else:
        return chosen, rejected
    return ()
