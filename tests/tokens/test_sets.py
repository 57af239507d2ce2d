from __future__ import annotations

from pathlib import Path

import pytest

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import read_jsonl
from tinsmith.tokens.batches import Batches
from tinsmith.tokens.chat import ChatEncoder, Message
from tinsmith.tokens.examples import Conversation, Preference, Rejects
from tinsmith.tokens.sets import write_dpo, write_sft
from tinsmith.tokens.shards import TokenSet
from tiny_model import CHATML, tiny_tokenizer

SYSTEM = Message("system", "Be brief.")


def encoder(template: str = CHATML) -> ChatEncoder:
    return ChatEncoder(tiny_tokenizer(template=template))


def talk(line: int, exchanges: int, *, words: int = 6, system: bool = True) -> Conversation:
    """Return a conversation of numbered questions and answers."""
    said = [SYSTEM] if system else []
    for number in range(exchanges):
        said.append(Message("user", f"Question {number}? " + "the fee " * words))
        said.append(Message("assistant", f"Answer {number}. " + "a copy " * words))
    return Conversation("talks.jsonl", line, tuple(said))


def sft(out: Path, *examples: Conversation, context: int = 512, template: str = CHATML) -> dict[str, float]:
    return write_sft(examples, encoder(template), Rejects(), context=context, seed=3, out=out)


def reasons(out: Path) -> list[tuple[int, str]]:
    return [(row["line"], row["reason"]) for row in read_jsonl(out / "rejects.jsonl")]


def test_tokens_in_equal_tokens_in_the_set(tmp_path: Path) -> None:
    talks = [talk(line, line) for line in range(1, 5)]
    figures = sft(tmp_path, *talks)
    made = [encoder().encode(each.messages, where="here") for each in talks]
    tokens = TokenSet(tmp_path)
    stored = {
        row["doc_id"]: tokens.sequence(n) for n, row in enumerate(read_jsonl(tmp_path / "sequences.jsonl"))
    }
    for each, expected in zip(talks, made, strict=True):
        ids, marks = stored[each.where]
        assert (ids.tolist(), marks.tolist()) == (expected.ids, expected.marks)
    assert figures == {
        "sft_conversations": 4,
        "sft_divided": 0,
        "sft_rejected": 0,
        "sft_sequences": 4,
        "sft_tokens": sum(len(each.ids) for each in made),
        "sft_supervised_tokens": sum(sum(each.marks) for each in made),
    }
    assert reasons(tmp_path) == []


def test_a_conversation_longer_than_the_context_is_divided_with_no_answer_lost(tmp_path: Path) -> None:
    long = talk(9, 7)
    figures = sft(tmp_path, long, talk(10, 1), context=130)
    tokens, tokenizer = TokenSet(tmp_path), encoder().tokenizer
    rows = list(read_jsonl(tmp_path / "sequences.jsonl"))
    parts = sorted((row["order"], n) for n, row in enumerate(rows) if row["doc_id"] == long.where)
    texts = [tokenizer.decode(tokens.sequence(n)[0]) for _, n in parts]
    assert len(parts) > 1
    assert max(row["length"] for row in rows) <= 130
    # Behind the system message, the parts joined are the conversation.
    start = tokenizer.apply_chat_template([SYSTEM._asdict()], tokenize=False)
    assert all(text.startswith(f"{start}<|im_start|>user\nQuestion") for text in texts)
    whole = tokenizer.apply_chat_template([message._asdict() for message in long.messages], tokenize=False)
    assert start + "".join(text.removeprefix(start) for text in texts) == whole
    answers = sum(sum(encoder().encode(each.messages, where="").marks) for each in (long, talk(10, 1)))
    assert figures["sft_supervised_tokens"] == answers == int(tokens.marks.sum())
    assert (figures["sft_divided"], figures["sft_rejected"]) == (1, 0)
    assert reasons(tmp_path) == [(9, "divided")]


def test_an_exchange_longer_than_the_context_is_left_out_and_named(tmp_path: Path) -> None:
    short, huge = talk(1, 2, words=2), talk(2, 1, words=300)
    mixed = Conversation("talks.jsonl", 3, (*short.messages, *huge.messages[1:], *short.messages[1:]))
    figures = sft(tmp_path, huge, mixed, context=130)
    assert reasons(tmp_path) == [
        (2, "longer_than_context"),
        (3, "longer_than_context"),
        (3, "divided"),
    ]
    assert (figures["sft_conversations"], figures["sft_rejected"]) == (1, 1)
    # What stands before and after the gap never shares a sequence.
    texts = [
        encoder().tokenizer.decode(TokenSet(tmp_path).sequence(n)[0]) for n in range(len(TokenSet(tmp_path)))
    ]
    assert [text.count("Question") for text in texts] == [2, 2]


def test_a_conversation_without_an_answer_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    mute = Conversation("talks.jsonl", 41, (SYSTEM, Message("user", "Hello?")))
    with pytest.raises(
        CorpusError, match=r"talks\.jsonl:41: the conversation has no message of the assistant"
    ):
        sft(tmp_path, talk(1, 1), mute)


def test_a_question_that_nobody_answers_is_named(tmp_path: Path) -> None:
    asking = Conversation("talks.jsonl", 4, (*talk(4, 1).messages, Message("user", "And?")))
    sft(tmp_path, asking)
    assert reasons(tmp_path) == [(4, "unanswered_end")]
    assert TokenSet(tmp_path).tokens == len(encoder().encode(talk(4, 1).messages, where="").ids)


def test_what_the_assistant_says_before_anybody_asks_is_read_and_not_learnt(tmp_path: Path) -> None:
    greeting = Message("assistant", "Good day, how may I help?")
    opened = Conversation("talks.jsonl", 2, (SYSTEM, greeting, *talk(2, 3).messages[1:]))
    figures = sft(tmp_path, opened, context=150)
    assert (figures["sft_conversations"], figures["sft_rejected"]) == (1, 0)
    decode, tokens = encoder().tokenizer.decode, TokenSet(tmp_path)
    learnt, read = "", ""
    for number in range(len(tokens.lengths)):
        ids, marks = tokens.sequence(number)
        assert marks.any()
        read += decode(ids)
        learnt += decode(ids[marks.astype(bool)])
    assert read.count("Good day") == 1
    assert [learnt.count(text) for text in ("Good day", "Answer 0", "Answer 2")] == [0, 1, 1]
    alone = Conversation("talks.jsonl", 6, (SYSTEM, greeting))
    sft(tmp_path / "alone", talk(1, 1), alone)
    assert reasons(tmp_path / "alone") == [(6, "nobody_asks")]
    dpo(tmp_path / "pairs", pair(1), Preference("pairs.jsonl", 7, (SYSTEM,), chosen="Yes", rejected="No"))
    assert reasons(tmp_path / "pairs") == [(7, "nobody_asks")]


def test_answers_without_a_weight_are_read_and_no_targets(tmp_path: Path) -> None:
    wrong = Message("assistant", "Wrong: nobody.", learnt=False)
    said = talk(1, 2).messages
    figures = sft(
        tmp_path,
        Conversation("talks.jsonl", 1, (*said[:2], wrong, *said[1:])),
        Conversation("talks.jsonl", 2, (SYSTEM, said[1], wrong)),
        Conversation("talks.jsonl", 3, (*said, said[1], wrong)),
    )
    decode, tokens = encoder().tokenizer.decode, TokenSet(tmp_path)
    pairs = [tokens.sequence(number) for number in range(len(tokens.lengths))]
    read, learnt = ("".join(decode(ids[marks >= least]) for ids, marks in pairs) for least in (0, 1))
    assert [read.count("Wrong"), learnt.count("Wrong"), learnt.count("Answer")] == [1, 0, 4]
    assert reasons(tmp_path) == [(2, "nothing_learnt"), (3, "unanswered_end")]
    assert (figures["sft_conversations"], figures["sft_rejected"]) == (2, 1)


def test_a_part_without_an_answer_to_learn_is_left_out(tmp_path: Path) -> None:
    first, *rest = (talk(1, 1, words=9, system=False).messages, talk(2, 1, words=9, system=False).messages)
    unlearnt = (first[0], first[1]._replace(learnt=False))
    for order in ((*unlearnt, *rest[0]), (*unlearnt, *unlearnt, *rest[0], *rest[0])):
        sft(tmp_path / str(len(order)), Conversation("talks.jsonl", 1, order), context=130)
        tokens = TokenSet(tmp_path / str(len(order)))
        assert all(tokens.sequence(number)[1].any() for number in range(len(tokens.lengths)))


def test_what_the_template_refuses_is_named_and_all_refused_is_an_error(tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    figures = sft(tmp_path / "some", talk(1, 1), talk(2, 1, system=False), template=strict)
    assert (figures["sft_conversations"], figures["sft_rejected"]) == (1, 1)
    assert reasons(tmp_path / "some") == [(1, "template_refuses")]
    with pytest.raises(CorpusError, match=r"no example is left for sft \(template_refuses\)"):
        sft(tmp_path / "none", talk(1, 1), template=strict)
    faulty = "{% if messages[0]['role'] == 'system' %}{{ 'a' + 1 }}{% endif %}" + CHATML
    sft(tmp_path / "faulty", talk(1, 1), talk(2, 1, system=False), template=faulty)
    (row,) = read_jsonl(tmp_path / "faulty" / "rejects.jsonl")
    assert (row["line"], row["reason"]) == (1, "template_refuses")
    assert "TypeError" in row["detail"]


def pair(line: int, chosen: str = "Yes, 7.", rejected: str = "No\n") -> Preference:
    asked = (
        SYSTEM,
        Message("user", "The first?"),
        Message("assistant", "3"),
        Message("user", f"And {line}?"),
    )
    return Preference("pairs.jsonl", line, asked, chosen=chosen, rejected=rejected)


def dpo(out: Path, *examples: Preference, context: int = 512) -> dict[str, float]:
    return write_dpo(examples, encoder(), Rejects(), context=context, seed=3, out=out)


def test_pairs_share_their_prompt_and_learn_their_answers_only(tmp_path: Path) -> None:
    figures = dpo(tmp_path, *(pair(line) for line in range(1, 9)))
    tokens, tokenizer = TokenSet(tmp_path), encoder().tokenizer
    rows = [row["doc_id"] for row in read_jsonl(tmp_path / "sequences.jsonl")]
    assert tokens.group == 2
    assert rows[::2] == rows[1::2] != [f"pairs.jsonl:{line}" for line in range(1, 9)]
    for number in range(0, 16, 2):
        (chosen, ours), (rejected, theirs) = tokens.sequence(number), tokens.sequence(number + 1)
        start = int(ours.argmax())
        assert start == int(theirs.argmax()) > 10
        assert chosen[:start].tolist() == rejected[:start].tolist()
        assert tokenizer.decode(chosen[ours == 1]) == "Yes, 7.<|im_end|>"
        assert tokenizer.decode(rejected[theirs == 1]) == "No\n<|im_end|>"
    assert (figures["dpo_pairs"], figures["dpo_sequences"], figures["dpo_rejected"]) == (8, 16, 0)
    # Nothing separates a pair.
    batches = Batches(tokens, batch_tokens=200, micro_rows=1, seed=0)
    assert all(batch.numbers[1] == batch.numbers[0] + 1 for step in range(20) for batch in batches.step(step))


def test_pairs_that_teach_nothing_are_named(tmp_path: Path) -> None:
    figures = dpo(tmp_path, pair(1, "same", "same"), pair(2, "long " * 90), pair(3), context=128)
    assert reasons(tmp_path) == [(1, "equal_answers"), (2, "longer_than_context")]
    assert (figures["dpo_pairs"], figures["dpo_rejected"]) == (1, 2)
    with pytest.raises(CorpusError, match=r"no example is left for dpo \(equal_answers\)"):
        dpo(tmp_path, pair(1, "same", "same"))
