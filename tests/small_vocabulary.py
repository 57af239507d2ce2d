"""Small GGUF vocabularies for tests, written with the gguf package."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE

from gguf import GGUFWriter, TokenType
from tinsmith.gguf.pretokenizers import probe

TEXT = """The licensee may copy, modify and distribute the software in 2024 or 1999, provided that the licence
stays with every copy. The licensor gives no warranty of any kind; it isn't liable for any damage. """
MARKUP = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def trained_bpe(pieces: int = 400) -> Tokenizer:
    """Train a byte-level BPE with split digits on a little text; its ids are those of the GGUF below."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, special_tokens=MARKUP, initial_alphabet=alphabet, show_progress=False
    )
    # Numbers are learnt as wholes and then split, so that a reader who forgets to split them gets other ids.
    backend.train_from_iterator([TEXT, " 2024 1999" * 50], trainer)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return backend


def bpe_across_kinds(pieces: int = 3000) -> Tokenizer:
    """Train a byte-level BPE on unsplit text, so that its tokens run across every border that a split may draw."""
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=pieces,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    text = probe()
    lines = [text[start : start + 40] for start in range(0, len(text), 40)]
    backend.train_from_iterator([*lines, *[TEXT, "12345678 HTTPServer WE'LL"] * 5], trainer)
    backend.decoder = decoders.ByteLevel()
    return backend


def write_bpe(path: Path, *, pre: str = "smollm", template: str | None = "{{ messages }}") -> Tokenizer:
    """Write a GGUF whose bos, eos, unk and pad are 1, 2, 0 and 2, and which adds no bos."""
    backend = trained_bpe()
    model = json.loads(backend.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL if t in MARKUP else TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)
    _close(writer)
    return backend


def write_sentence_pieces(path: Path, *, space_prefix: bool = False) -> None:
    """Write scored pieces with byte fall-back, user-defined spaces and a bos before each text."""
    markup = ["<pad>", "<eos>", "<bos>", "<unk>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = ["ab", "bc", "th", "he", "the", "▁the", "li", "▁li", "ce", "nce", "lice", "▁lice", "▁licence"]
    letters = sorted({letter for piece in pieces for letter in piece} | set("abdo.▁"))
    defined = ["  ", "\n\n"]
    tokens = markup + byte_tokens + defined + pieces + letters
    types = [TokenType.CONTROL] * 4 + [TokenType.BYTE] * 256 + [TokenType.USER_DEFINED] * 2
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(number) for number in range(len(tokens))])
    writer.add_token_types(types + [TokenType.NORMAL] * (len(pieces) + len(letters)))
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(space_prefix)
    _close(writer)


def _close(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
