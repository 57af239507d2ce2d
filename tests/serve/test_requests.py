"""Every field of a request is carried out, left aside by name, or refused with its name."""

import pytest

from tinsmith.serve.requests import UNSEEN, BadRequest, read_chat, read_completion, read_json_object
from tinsmith.tokens.chat import Message

CHAT = {"messages": [{"role": "user", "content": "a"}]}
TEXT = {"prompt": "a"}


def refused(read, body, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(body)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "send a JSON object"),
        (b'"text"', "send a JSON object"),
        (b"null", "send a JSON object"),
        (b'{"a": "\\ud83d"}', "not valid JSON"),
        (b'{"\\ud83d": 1}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'{"a": "\xed\xa0\xbd"}', "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": -Infinity}', "not valid JSON"),
        (b'{"a": 1e999}', "`a` has a number that is too large"),
        (b'{"a": [{"b": -1e999}]}', "`a` has a number that is too large"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not valid JSON"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not valid JSON"),
        ('{"a": 1}'.encode("utf-16"), "not valid JSON"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_passed_on_is_refused(data, words):
    refused(read_json_object, data, words)


def test_what_can_be_passed_on_is_read():
    assert read_json_object(b'\xef\xbb\xbf{"a": "\\u0000\\ud83d\\ude00"}') == {"a": "\0\U0001f600"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"echo": True}, "`echo` is not supported"),
        ({"tools": [{"type": "function"}]}, "`tools` is not supported"),
        ({"functions": [{"name": "f"}]}, "`functions` is not supported"),
        ({"tool_choice": "required"}, "`tool_choice` is not supported"),
        ({"audio": {"voice": "a"}}, "`audio` is not supported"),
        ({"modalities": ["text", "audio"]}, "`modalities` is not supported"),
        ({"reasoning_effort": "low"}, "`reasoning_effort` is not supported"),
        ({"verbosity": "low"}, "`verbosity` is not supported"),
        ({"prediction": {}}, "`prediction` is not supported"),
        ({"web_search_options": {}}, "`web_search_options` is not supported"),
        ({"grammar": "root ::= [a]"}, "`grammar` is not supported"),
        ({"n_predict": 3}, "`n_predict` is not supported"),
        ({"id_slot": 0}, "`id_slot` is not supported"),
        ({"max_tokens": -1}, "`max_tokens`"),
        ({"max_tokens": 0}, "`max_tokens`"),
        ({"max_tokens": True}, "`max_tokens`"),
        ({"max_tokens": 10**400}, "`max_tokens`"),
        ({"temperature": -0.1}, "`temperature`"),
        ({"temperature": "hot"}, "`temperature`"),
        ({"top_p": 1.1}, "`top_p`"),
        ({"seed": 2**63}, "`seed`"),
        ({"n": 0}, "`n`"),
        ({"n": 129}, "`n`"),
        ({"stream": "yes"}, "`stream`"),
        ({"stream_options": {"include_usage": True}}, "`stream_options` goes with `stream`"),
        ({"stream": True, "stream_options": {"more": 1}}, "`stream_options.more` is not supported"),
        ({"stop": 3}, "`stop`"),
        ({"stop": ["a", 3]}, "`stop`"),
        ({"stop": ["a"] * 65}, "`stop`"),
        ({"logit_bias": {"a": 1}}, "`logit_bias`"),
        ({"logit_bias": {"1": 101}}, "`logit_bias`"),
        ({"logit_bias": [[1, 2]]}, "`logit_bias`"),
        ({"response_format": "json"}, "`response_format`"),
        ({"response_format": {"type": "xml"}}, "`response_format`"),
        ({"response_format": {"type": "json_schema"}}, "`response_format`"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}}, "`response_format`"),
        ({"": 1}, "is not supported"),
        ({"x" * 1000: 1}, "x…` is not supported"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_done_is_refused_with_its_name(more, words):
    refused(read_chat, CHAT | more, words)
    refused(read_completion, TEXT | more, words)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (None, "`messages` is missing"),
        ([], "`messages`"),
        ("hello", "`messages`"),
        ([3], "`messages[0]`: must be an object"),
        ([{"content": "a"}], "`messages[0].role` is missing"),
        ([{"role": "user"}], "`messages[0].content` is missing"),
        ([{"role": "user", "content": None}], "`messages[0].content`: must be text"),
        ([{"role": "user", "content": 3}], "`messages[0].content`: must be text"),
        ([{"role": "User", "content": "a"}], "`messages[0].role`: must be one of system, developer"),
        ([{"role": "tool", "content": "a"}], "`messages[0].role`: must be one of"),
        ([{"role": 3, "content": "a"}], "`messages[0].role`"),
        ([{"role": "user", "content": "a", "name": "Ann"}], "`messages[0].name` is not supported"),
        ([{"role": "assistant", "content": "a", "tool_calls": [{}]}], "`messages[0].tool_calls` is not"),
        (
            [{"role": "user", "content": [{"type": "image_url"}]}],
            "a part of type 'image_url' is not supported",
        ),
        ([{"role": "user", "content": [{"type": "text"}]}], "this part is not supported"),
        ([{"role": "user", "content": ["a"]}], "this part is not supported"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_messages_that_cannot_be_read_are_refused(messages, words):
    refused(read_chat, {"messages": messages}, words)


@pytest.mark.parametrize("prompt", [None, [], [[]], 3, [1, "a"], [True], ["a", [1]], [[1], ["a"]], {"a": 1}])
def test_prompts_that_cannot_be_read_are_refused(prompt):
    refused(read_completion, {"prompt": prompt}, "`prompt`")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"best_of": 2}, "`best_of` is not supported"),
        ({"suffix": "b"}, "`suffix` is not supported"),
        ({"logprobs": 21}, "`logprobs`"),
        ({"logprobs": True}, "`logprobs`"),
        ({"messages": []}, "`messages` is not supported"),
        ({"prompt": ["a"] * 65, "n": 2}, "prompts times `n`"),
    ],
)
def test_completions_refuse_fields_of_their_own(body, words):
    refused(read_completion, TEXT | body, words)


def test_tops_go_with_logprobs():
    refused(read_chat, CHAT | {"top_logprobs": 2}, "`top_logprobs` goes with `logprobs`")
    assert read_chat(CHAT | {"top_logprobs": 2, "logprobs": True}).likeliest == 2
    assert read_chat(CHAT | {"logprobs": True}).likeliest == 0
    assert read_chat(CHAT).likeliest is None


def test_bookkeeping_and_what_asks_for_nothing_is_left_aside():
    plain = {"echo": False, "best_of": 1, "suffix": "", "tools": [], "tool_choice": "none"}
    nothing = dict.fromkeys(["seed", "stop", "temperature", "n", "response_format", "logit_bias"])
    body = dict.fromkeys(UNSEEN, "x") | plain | nothing | {"model": "m"}
    assert read_chat(CHAT | body) == read_chat(CHAT)
    assert read_completion(TEXT | body) == read_completion(TEXT)


def test_an_answer_may_be_sent_back_as_it_came():
    sent = {"role": "assistant", "content": "b", "refusal": None, "tool_calls": [], "reasoning_content": "hm"}
    parts = [{"type": "text", "text": "c"}, {"type": "text", "text": "d"}]
    talk = [{"role": "developer", "content": "a"}, sent, {"role": "user", "content": parts}]
    assert read_chat({"messages": talk}).talk == [
        Message("system", "a"),
        Message("assistant", "b"),
        Message("user", "c\nd"),
    ]


@pytest.mark.parametrize(
    ("schema", "taken"),
    [
        ({"type": "array", "maxItems": 1000}, True),
        ({"type": "array", "maxItems": 1001}, False),
        ({"type": "array", "minItems": 10**9}, False),
        ({"type": "array", "maxItems": 40, "items": {"type": "array", "maxItems": 40}}, False),
        ({"type": "object", "properties": {"a": {"maxItems": 40}, "b": {"maxItems": 40}}}, True),
        ({"type": "string", "pattern": "^a{1,1000}$"}, True),
        ({"type": "string", "pattern": "^(a{100}){100}$"}, False),
        ({"type": "string", "pattern": "^a{99999999999999}$"}, False),
        ({"type": "string", "maxLength": 100_000}, True),
        ({"properties": {"maxItems": {"type": "integer"}}}, True),
    ],
    ids=str,
)
def test_schemas_that_count_too_far_are_refused(schema, taken):
    body = CHAT | {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}}
    if taken:
        assert read_chat(body).response_format == schema
    else:
        refused(read_chat, body, "may count to 1,000")


def test_what_llama_cpp_is_told():
    body = {"temperature": 0, "top_k": 5, "seed": -1, "stop": ["", "a"], "logit_bias": {"7": -100}}
    assert read_completion(TEXT | body).for_llama_cpp() == {
        "temperature": 0.0,
        "top_k": 5,
        "seed": 2**32 - 1,
        "stop": ["a"],
        "ignore_eos": False,
        "logit_bias": [[7, -100.0]],
    }
