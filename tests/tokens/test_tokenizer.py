from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from gguf import GGUFReader
from small_vocabulary import TEXT, write_bpe, write_sentence_pieces
from tinsmith.base.assets import is_cached, resolve_model
from tinsmith.base.errors import AssetError
from tinsmith.gguf.header import read_metadata
from tinsmith.tokens.encoding import encode, encode_all, prefix_ids
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer

HARD = "Hello  world 2024: 12.5%\n\n\tindent «é» 漢字 it's ½ <|im_end|> \u00a0x \r\n"


def test_special_tokens_are_those_of_the_metadata(tmp_path: Path) -> None:
    write_bpe(tmp_path / "v.gguf")
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert (tokenizer.unk_token_id, tokenizer.pad_token_id) == (0, 2)
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("<|im_end|>", "{{ messages }}")
    assert prefix_ids(tokenizer) == []
    assert tokenizer("the")["input_ids"] == encode(tokenizer, "the")


@pytest.mark.parametrize("text", [TEXT, HARD, "", " 1999 12"])
def test_ids_equal_those_of_the_tokenizer_that_the_vocabulary_came_from(tmp_path: Path, text: str) -> None:
    original = write_bpe(tmp_path / "v.gguf")
    original.encode_special_tokens = True
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    assert encode(tokenizer, text) == original.encode(text).ids
    assert tokenizer.decode(encode(tokenizer, text)) == text


def test_markup_in_a_document_stays_text_and_templates_still_use_it(tmp_path: Path) -> None:
    write_bpe(tmp_path / "v.gguf")
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    assert tokenizer.eos_token_id not in encode(tokenizer, "a<|im_end|>")
    assert encode_all(tokenizer, ["a<|im_end|>", HARD]) == [
        encode(tokenizer, text) for text in ("a<|im_end|>", HARD)
    ]
    assert tokenizer("a<|im_end|>")["input_ids"][-1] == tokenizer.eos_token_id


def test_pieces_merge_by_score_with_byte_fallback_and_bos(tmp_path: Path) -> None:
    write_sentence_pieces(tmp_path / "v.gguf")
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    assert prefix_ids(tokenizer) == [2]
    assert tokenizer.convert_ids_to_tokens(encode(tokenizer, "abc")) == ["ab", "c"]
    names = tokenizer.convert_ids_to_tokens(encode(tokenizer, "the licence  ö\n\n"))
    assert names == ["the", "▁licence", "  ", "<0xC3>", "<0xB6>", "\n\n"]
    assert tokenizer.decode(encode(tokenizer, "the licence  ö\n\n")) == "the licence  ö\n\n"
    assert tokenizer("the")["input_ids"] == [2, *encode(tokenizer, "the")]


def test_space_prefix_is_honoured(tmp_path: Path) -> None:
    write_sentence_pieces(tmp_path / "v.gguf", space_prefix=True)
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    assert tokenizer.convert_ids_to_tokens(encode(tokenizer, "the licence")) == ["▁the", "▁licence"]
    assert tokenizer.decode(encode(tokenizer, "the licence")) == "the licence"


def test_saved_tokenizer_opens_again_with_the_same_ids(tmp_path: Path) -> None:
    write_bpe(tmp_path / "v.gguf")
    tokenizer = load_tokenizer(tmp_path / "v.gguf")
    save_tokenizer(tokenizer, tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    plain = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert encode(again, HARD) == encode(tokenizer, HARD)
    assert plain("the 12")["input_ids"] == tokenizer("the 12")["input_ids"]
    assert (again.eos_token_id, again.chat_template) == (2, "{{ messages }}")
    assert '"PreTrainedTokenizerFast"' in (tmp_path / "saved" / "tokenizer_config.json").read_text()


def test_metadata_agree_with_the_gguf_package(tmp_path: Path) -> None:
    write_sentence_pieces(tmp_path / "v.gguf")
    theirs = {name: field.contents() for name, field in GGUFReader(tmp_path / "v.gguf").fields.items()}
    ours = read_metadata(tmp_path / "v.gguf")
    assert ours == {name: theirs[name] for name in theirs if not name.startswith("GGUF.")}


def test_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "v.gguf"
    path.write_bytes(b"PK\x03\x04" * 20)
    with pytest.raises(AssetError, match=r"v\.gguf.*not a readable GGUF"):
        load_tokenizer(path)
    write_bpe(path, pre="kimi-k2")
    with pytest.raises(AssetError, match=r"'kimi-k2' is not supported \(supported: gpt-2, smollm"):
        load_tokenizer(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(AssetError, match="not a readable GGUF"):
        load_tokenizer(path)
    with pytest.raises(AssetError, match=r"holds no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(AssetError, match="cannot be opened"):
        load_tokenizer(tmp_path)


def test_the_default_base_ends_texts_with_im_end() -> None:
    if not is_cached("smollm2-135m"):
        pytest.skip("smollm2-135m is not in the cache")
    tokenizer = load_tokenizer(resolve_model("smollm2-135m").path)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 2)
    assert (tokenizer.eos_token, tokenizer.unk_token, prefix_ids(tokenizer)) == (
        "<|im_end|>",
        "<|endoftext|>",
        [],
    )
    assert "".join(tokenizer.convert_ids_to_tokens(encode(tokenizer, "in 2024"))) == "inĠ2024"
    assert len(encode(tokenizer, "2024")) == 4
    assert tokenizer.decode(encode(tokenizer, HARD)) == HARD


def test_the_default_rival_starts_texts_with_bos() -> None:
    if not is_cached("gemma-3-270m"):
        pytest.skip("gemma-3-270m is not in the cache")
    tokenizer = load_tokenizer(resolve_model("gemma-3-270m").path)
    assert (tokenizer.eos_token_id, prefix_ids(tokenizer)) == (1, [2])
    assert tokenizer.decode(encode(tokenizer, HARD)) == HARD
