from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from small_vocabulary import TEXT, write_sentence_pieces
from tinsmith.base.errors import RecipeError
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.parity.sides import ServerSide
from tinsmith.serve.runtime import LlamaServer
from tinsmith.tokens.encoding import encode, prefix_ids
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer
from tinsmith.tokens.vocabulary import parse_size, restrict_vocabulary, train_vocabulary
from tiny_model import TEXTS, tiny_tokenizer

AWKWARD = [
    TEXT,
    "  two spaces,\ttab\r\n\n\n   three line ends \n ",
    "1234567890 3.14 2024-01-31 §12(3)(b) 1,000,000 ½ ² Ⅷ ٣ १२",
    "naïve café – ‘quoted’ “text” … €5, e\u0301 \u00a0x \u200b\u2028y \ufeff",
    "日本語のテキスト, русский текст, العربية, 🙂👩‍👩‍👧 🇩🇪",
    "it's, we'LL, they’ve 'S; def f(x):\n    return x**2  # comment",
    "".join(map(chr, range(32))) + "\x7f\x80\x9f",
    "<|im_end|> <|im_start|>system\n<|endoftext|><|im_end|",
    "\U0001f9ff\U0002070e\U000e0041\U0010fffd",
]


def used(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[int]:
    counts = [0] * len(tokenizer)
    for text in texts:
        for number in encode(tokenizer, text):
            counts[number] += 1
    return counts


def restricted(size: int = 310) -> tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast, list[int]]:
    """Return a base, the part of it that a corpus without licensees uses, and the old ids."""
    base = tiny_tokenizer()
    return base, *restrict_vocabulary(base, used(base, ["The software in any copy, without warranty."]), size)


def test_sizes_are_read() -> None:
    assert [parse_size(text) for text in ("bpe@16k", "bpe@5000")] == [16000, 5000]


def test_training_gives_the_asked_size_and_the_same_bytes_again() -> None:
    one, other = (train_vocabulary(iter(TEXTS), 340) for _ in range(2))
    assert one.backend_tokenizer.to_str() == other.backend_tokenizer.to_str()
    assert len(one) == 340
    assert len(encode(one, TEXT)) < len(TEXT) / 2


def test_a_small_corpus_gives_fewer_tokens_and_a_small_size_is_refused() -> None:
    assert 259 < len(train_vocabulary(["copy the copy"], 8000)) < 270
    with pytest.raises(RecipeError, match=r"model\.tokenizer: 200 tokens are too few for all bytes"):
        train_vocabulary([TEXT], 200)


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_comes_back(text: str) -> None:
    tokenizer = train_vocabulary([TEXT], 300)
    assert tokenizer.decode(encode(tokenizer, text)) == text
    assert tokenizer.get_vocab().keys() >= set(pre_tokenizers.ByteLevel.alphabet())


def test_turns_end_with_the_stop_and_filling_is_another_token() -> None:
    tokenizer = train_vocabulary([TEXT], 300)
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    ids = tokenizer(tokenizer.apply_chat_template(chat, tokenize=False))["input_ids"]
    assert ids.count(tokenizer.eos_token_id) == 2
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, None)
    assert prefix_ids(tokenizer) == []


def test_text_of_kept_tokens_is_cut_alike() -> None:
    base, small, kept = restricted()
    new = {old: number for number, old in enumerate(kept)}
    compared = 0
    for word in {word for text in [*TEXTS, *AWKWARD] for word in text.split(" ")}:
        old = encode(base, f" {word}")
        if set(old) <= set(kept):
            assert encode(small, f" {word}") == [new[number] for number in old]
            compared += 1
    assert compared > 20
    assert len(encode(small, TEXT)) > len(encode(base, TEXT))


def test_a_restricted_vocabulary_keeps_bytes_markup_and_what_is_used_most() -> None:
    base, small, kept = restricted()
    assert len(small) == len(kept) == 310
    assert small.convert_ids_to_tokens(range(310)) == base.convert_ids_to_tokens(kept)
    assert small.get_vocab().keys() >= set(pre_tokenizers.ByteLevel.alphabet())
    assert (small.bos_token, small.eos_token, small.unk_token, small.pad_token) == (
        base.bos_token,
        base.eos_token,
        base.unk_token,
        base.pad_token,
    )
    assert small.chat_template == base.chat_template
    assert small("a<|im_end|>")["input_ids"][-1] == small.eos_token_id
    assert {"Ġwarranty", "Ġsoftware"} <= small.get_vocab().keys()
    assert "Ġlicensee" in base.get_vocab()
    assert "Ġlicensee" not in small.get_vocab()


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_comes_back_from_a_restricted_vocabulary(text: str) -> None:
    _, small, _ = restricted()
    assert small.decode(encode(small, text)) == text


def test_every_kept_token_can_be_reached() -> None:
    base, small, kept = restricted()
    alone = [encode(base, base.decode([old])) for old in kept]
    reached = [new for new, (old, ids) in enumerate(zip(kept, alone, strict=True)) if ids == [old]]
    # The others are markup, parts of characters, and numbers, which the base learnt and then splits.
    assert len(reached) > 128 + 30
    assert [encode(small, small.decode([new])) for new in reached] == [[new] for new in reached]


def small_base(words: list[str], merges: list[tuple[str, str]], **added: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of letters, words made by merges, and added tokens that are in no model's vocabulary."""
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *words]
    backend = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in added.values()]
    )
    if bos := added.get("bos_token"):
        special = [(bos, backend.token_to_id(bos))]
        backend.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=special)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **added)


@pytest.mark.parametrize("order", [1, -1])
def test_steps_on_the_way_are_those_that_bpe_takes(order: int) -> None:
    """Two merges make abcd; the earlier learnt bc leads to one of them only."""
    last = [("ab", "cd"), ("abc", "d")][::order]
    merges = [("b", "c"), ("a", "b"), ("c", "d"), ("a", "bc"), *last]
    base = small_base(["bc", "ab", "cd", "abc", "abcd"], merges, eos_token="<eos>")
    small, kept = restrict_vocabulary(base, used(base, ["abcd"]), 260)
    assert base.convert_ids_to_tokens(kept[256:]) == ["bc", "abc", "abcd", "<eos>"]
    assert encode(small, "abcd") == [258]


def test_uses_of_a_dropped_token_count_for_its_parts() -> None:
    base = small_base(["ab", "abc", "de"], [("a", "b"), ("ab", "c"), ("d", "e")], eos_token="<eos>")
    _, kept = restrict_vocabulary(base, used(base, ["ab"] * 2 + ["abc"] * 2 + ["de"] * 3), 258)
    assert base.convert_ids_to_tokens(kept[256:]) == ["ab", "<eos>"]


def test_added_tokens_and_a_beginning_of_text_keep_their_meaning() -> None:
    base = small_base(["ab", "de"], [("a", "b"), ("d", "e")], eos_token="<eos>", bos_token="<bos>")
    assert base("de")["input_ids"] == [259, 257]
    small, kept = restrict_vocabulary(base, used(base, ["de"]), 259)
    assert kept == [*range(256), 257, 258, 259]
    assert small("de<eos>")["input_ids"] == [258, 256, 257]
    assert (small.eos_token_id, small.bos_token_id, prefix_ids(small)) == (257, 258, [258])
    assert small.decode([256, 257]) == "de<eos>"


def test_without_counts_the_earliest_learnt_are_kept() -> None:
    base = tiny_tokenizer(adds_bos=True)
    small, kept = restrict_vocabulary(base, [0] * 400, 300)
    assert kept == list(range(300))
    assert small("the")["input_ids"][0] == small.bos_token_id == 1


def test_what_cannot_be_restricted_is_refused(tmp_path: Path) -> None:
    base = tiny_tokenizer()
    with pytest.raises(RecipeError, match="259 bytes and added tokens"):
        restrict_vocabulary(base, [0] * 400, 258)
    with pytest.raises(RecipeError, match="has only 373 tokens, so 373 would drop none"):
        restrict_vocabulary(base, [0] * 400, 373)
    write_sentence_pieces(tmp_path / "v.gguf")
    pieces = load_tokenizer(tmp_path / "v.gguf")
    with pytest.raises(RecipeError, match=r"train\.streamline\.vocabulary: .*not a byte-level BPE"):
        restrict_vocabulary(pieces, [0] * len(pieces), 270)


@pytest.fixture(scope="module", params=["trained", "restricted"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PreTrainedTokenizerFast, ServerSide]]:
    """Return a tokenizer as it is saved and opened again, and llama.cpp over the GGUF made with it."""
    tokenizer = train_vocabulary([*TEXTS, *AWKWARD], 420) if request.param == "trained" else restricted()[1]
    directory = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    save_model(LlamaForCausalLM(config), tokenizer, directory / "model", "float32")
    save_tokenizer(tokenizer, directory / "model")
    write_gguf(directory / "model", directory / "model.gguf", "f16")
    with LlamaServer(directory / "model.gguf", threads=1, context=256) as server, server.client() as client:
        yield load_tokenizer(directory / "model"), ServerSide(client, len(tokenizer))


def test_llama_cpp_cuts_text_alike(served: tuple[PreTrainedTokenizerFast, ServerSide]) -> None:
    tokenizer, side = served
    # Characters of all kinds, in places where rules for letters, digits and spaces meet.
    codes = (*range(1, 0x400), *range(0x2000, 0x2100), *range(0x3000, 0x110000, 1009))
    some = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    rows = [
        "".join(f"a{c}b {c}{c} 1{c} \n" for c in some[start : start + 400])
        for start in range(0, len(some), 400)
    ]
    for text in [*AWKWARD, *rows]:
        assert side.token_ids(text, markup=False) == encode(tokenizer, text)


def test_llama_cpp_reads_markup_and_chats_alike(served: tuple[PreTrainedTokenizerFast, ServerSide]) -> None:
    tokenizer, side = served
    chat = [{"role": "user", "content": "May I copy it?"}, {"role": "assistant", "content": "Yes, 12 times."}]
    chat.append({"role": "user", "content": "Why?"})
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert side.render(chat) == text
    for each in (text, *AWKWARD):
        assert side.token_ids(each) == tokenizer(each)["input_ids"]
