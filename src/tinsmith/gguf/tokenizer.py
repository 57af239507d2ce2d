"""Open a saved tokenizer, and build one that agrees with llama.cpp token by token."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from gguf import TokenType
from tinsmith.gguf.pretokenizers import build_pre_tokenizer, takes_whole_words
from tinsmith.gguf.vocabulary import SPECIAL_TOKENS, Vocabulary


def open_saved_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Open the tokenizer of a directory as its tokenizer.json says.

    AutoTokenizer puts the steps of a class in place of those of the file: those of Qwen2 for every model of that
    architecture, and those of whatever class tokenizer_config.json names.
    """
    plain = (directory / "tokenizer.json").is_file()
    kind = PreTrainedTokenizerFast if plain else AutoTokenizer
    tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(directory, local_files_only=True)
    return tokenizer


def build_tokenizer(vocabulary: Vocabulary) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a vocabulary as llama.cpp runs it; `eot_token` is the token that ends a turn.

    The loader inside transformers swaps begin and end of text for llama files and drops their pre-tokenizer, so its
    token ids would differ from llama.cpp's.
    """
    backend = _byte_level(vocabulary) if vocabulary.kind == "gpt2" else _sentence_pieces(vocabulary)
    typed = list(zip(vocabulary.tokens, vocabulary.types, strict=True))
    for wanted, is_special in ((TokenType.CONTROL, True), (TokenType.USER_DEFINED, False)):
        tokens = [
            AddedToken(token, normalized=False, special=is_special) for token, type in typed if type == wanted
        ]
        (backend.add_special_tokens if is_special else backend.add_tokens)(tokens)
    special = {role: vocabulary.token_of(role) for role in SPECIAL_TOKENS}
    bos = special["bos_token"]
    if vocabulary.adds_bos and bos is not None:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=vocabulary.chat_template,
        clean_up_tokenization_spaces=False,
        **{
            role: token
            for role, token in {**special, "eot_token": vocabulary.turn_end}.items()
            if token is not None
        },
    )


def _byte_level(vocabulary: Vocabulary) -> Tokenizer:
    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    merges = [(first, second) for first, second in (merge.split(" ", 1) for merge in vocabulary.merges)]
    backend = Tokenizer(BPE(ids, merges, ignore_merges=takes_whole_words(vocabulary.pre)))
    backend.pre_tokenizer = build_pre_tokenizer(vocabulary.pre)
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentence_pieces(vocabulary: Vocabulary) -> Tokenizer:
    """Rebuild greedy merging by score: of all neighbouring pairs, merge first the one whose union scores best."""
    ids = {token: token_id for token_id, token in enumerate(vocabulary.tokens)}
    unknown = vocabulary.token_of("unk_token")
    backend = Tokenizer(
        BPE(ids, _merges_by_score(vocabulary, ids), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    spaces = normalizers.Replace(" ", "▁")
    prefix = vocabulary.adds_space
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if prefix else steps)
    return backend


def _merges_by_score(vocabulary: Vocabulary, ids: dict[str, int]) -> list[tuple[str, str]]:
    # llama.cpp merges to any token by its text, also to markup that a person typed, if its halves are tokens.
    tokens, scores = vocabulary.tokens, vocabulary.scores
    pieces = [i for i, token in enumerate(tokens) if len(token) > 1]
    pieces.sort(key=lambda i: (-scores[i], i))
    halves = ((tokens[i][:cut], tokens[i][cut:]) for i in pieces for cut in range(1, len(tokens[i])))
    return [(left, right) for left, right in halves if left in ids and right in ids]
