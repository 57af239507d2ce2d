"""How byte-level tokenizers split text before merging, under the names that llama.cpp gives these splits.

One table serves both directions: a name gives the steps of a tokenizer, and a saved tokenizer gets the name whose steps
split a probe as its own do. The probe holds every three neighbours of the characters that any of the expressions treats
apart. So a tokenizer.json is known by what it does, however its expression is written.

llama.cpp's expressions are those of its file llama-vocab.cpp (MIT licence). Where they only come near the published
ones, both are listed: a published tokenizer is known by its own, and built as llama.cpp splits.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Regex, pre_tokenizers
from tokenizers.pre_tokenizers import PreTokenizer

from tinsmith.base.errors import AssetError

_ENDINGS = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_MARKS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ASCII_MARKS = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_CHINESE = "[一-龥぀-ゟ゠-ヿ]+"
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"


def _words_by_case(upper: str, lower: str, digits: str, ending: str = "") -> str:
    """Return the expression of tokenizers that part words where small letters end and capitals begin."""
    first = r"[^\r\n\p{L}\p{N}]?"
    words = f"{first}{upper}*{lower}+{ending}|{first}{upper}+{lower}*{ending}"
    return rf"{words}|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*" + _SPACES


# Every letter counts as both, but for those of ASCII.
_NO_SMALL, _NO_CAPITAL = r"((?=[\p{L}])([^a-z]))", r"((?=[\p{L}])([^A-Z]))"
_CAPITALS, _SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_TRIPLES, _DIGIT = r"\p{N}{1,3}", r"\p{N}"


@dataclass(frozen=True)
class PreTokenizerName:
    """One of llama.cpp's splits: the expressions that cut text one after another.

    `published` are those of published tokenizers where llama.cpp's differ. With `whole_words`, a piece that is a token
    is never merged from parts. `aliases` are further names of the same split.
    """

    steps: tuple[str, ...]
    published: tuple[str, ...] = ()
    whole_words: bool = False
    aliases: tuple[str, ...] = ()


_NAMES = {
    "gpt-2": PreTokenizerName(
        (_GPT_2,),
        aliases=(
            *("phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "mellum"),
            *("a.x-4.0", "modern-bert", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de"),
        ),
    ),
    "smollm": PreTokenizerName(
        (_DIGIT, _GPT_2),
        aliases=("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"),
    ),
    "llama-bpe": PreTokenizerName(
        (_ENDINGS + "|" + _LETTERS + "|" + _TRIPLES + _MARKS + _SPACES,),
        whole_words=True,
        aliases=("llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"),
    ),
    "dbrx": PreTokenizerName(
        (_ENDINGS + "|" + _LETTERS + "|" + _TRIPLES + _MARKS + _SPACES,),
        aliases=("smaug-bpe", "chatglm-bpe", "glm4", "glm5"),
    ),
    "qwen2": PreTokenizerName(
        (_ENDINGS + "|" + _LETTERS + "|" + _DIGIT + _MARKS + _SPACES,),
        aliases=(
            "deepseek-r1-qwen",
            "kormo",
            "stablelm2",
            "hunyuan",
            "megrez",
            "f2llmv2",
            "solar-open",
            "bailingmoe",
            "grok-2",
        ),
    ),
    "qwen35": PreTokenizerName(
        (_ENDINGS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + _SPACES,),
    ),
    "tekken": PreTokenizerName(
        (_words_by_case(_NO_SMALL, _NO_CAPITAL, _DIGIT),),
        published=(_words_by_case(_CAPITALS, _SMALL, _DIGIT),),
        whole_words=True,
    ),
    "gpt-4o": PreTokenizerName(
        (_words_by_case(_NO_SMALL, _NO_CAPITAL, _TRIPLES, _ENDINGS + "?"),),
        published=(_words_by_case(_CAPITALS, _SMALL, _TRIPLES, _ENDINGS + "?"),),
        aliases=("llama4", "kanana2", "minimax-m2", "talkie"),
    ),
    "deepseek-v3": PreTokenizerName(
        (
            _TRIPLES,
            _CHINESE,
            _ASCII_MARKS + r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + _SPACES,
        ),
        aliases=("hunyuan-dense", "joyai-llm"),
    ),
    "deepseek-coder": PreTokenizerName((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", _DIGIT)),
    "falcon": PreTokenizerName((r"[\p{P}\$\+<=>\^~\|`]+", _GPT_2, "[0-9][0-9][0-9]")),
    "bloom": PreTokenizerName((_BLOOM,), aliases=("poro-chat", "gpt3-finnish")),
    "viking": PreTokenizerName((_BLOOM, _DIGIT)),
    "seed-coder": PreTokenizerName(
        (_ENDINGS + "|" + _LETTERS + "|" + _DIGIT + r"| ?[^\s\p{L}\p{N}\r\n]+" + _SPACES,),
    ),
    "chameleon": PreTokenizerName(
        (
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            r"([\t\n]|    |  )",
            _DIGIT,
            r"[\p{P}!-/:-@\[-`{-~]",
            _GPT_2,
        ),
    ),
    "default": PreTokenizerName((r"[\p{P}\$\+<=>\^~\|]+", _GPT_2, r"\p{N}+", "[0-9][0-9][0-9]")),
}
PRE_TOKENIZERS = tuple(_NAMES)
_BY_ALIAS = {alias: name for name, known in _NAMES.items() for alias in (name, *known.aliases)}

# Letters of endings, letters of either case and of none, marks, digits, white space, and what joins or follows them.
_KINDS = "aAsSeErRlLtéÉǅʰ一あ가ع़́1२½ \t\n\r\u00a0'.,/$(_\"`~|。🙂\u200d"
_LONGER = " 1234567 12345678 \r\n\r\n\n   x    \t\t y  \n z it's WE'LL they'RE I'd'm'VE (a) ...!!! HTTPServer IDs éÉaB "


def build_pre_tokenizer(name: str) -> PreTokenizer:
    """Build the pre-tokenizer that llama.cpp calls `name`. Raises KeyError for one that is not supported."""
    return _build(_NAMES[_BY_ALIAS[name]].steps)


def takes_whole_words(name: str) -> bool:
    """Say whether a piece that is a token is never merged from its parts."""
    return _NAMES[_BY_ALIAS[name]].whole_words


def is_supported(name: str) -> bool:
    """Say whether a name of llama.cpp is in the table."""
    return name in _BY_ALIAS


def splits_alike(steps: PreTokenizer, name: str) -> bool:
    """Say whether llama.cpp splits the probe under a name as a pre-tokenizer does."""
    return _split(steps) == _known_split(_NAMES[_BY_ALIAS[name]].steps)


def name_pre_tokenizer(steps: PreTokenizer, *, whole_words: bool, where: Path) -> str:
    """Return llama.cpp's name for a pre-tokenizer. Raises AssetError where it has none."""
    found = _split(steps)
    for name, known in _NAMES.items():
        if found in (_known_split(known.steps), _known_split(known.published or known.steps)) and (
            known.whole_words == whole_words
        ):
            return name
    if (
        whole_words
    ):  # a name without it is nearer than none: the merges give the same wherever they reach the token
        return name_pre_tokenizer(steps, whole_words=False, where=where)
    raise AssetError(
        "llama.cpp has no name for how its tokenizer splits text before merging",
        where=str(where),
        next_step=f"choose a base that splits as one of {', '.join(PRE_TOKENIZERS)}",
    )


def _build(steps: tuple[str, ...]) -> PreTokenizer:
    splits = [pre_tokenizers.Split(Regex(step), "isolated") for step in steps]
    return pre_tokenizers.Sequence(
        [*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


@functools.cache
def _known_split(steps: tuple[str, ...]) -> tuple[str, ...]:
    return _split(_build(steps))


def _split(steps: PreTokenizer) -> tuple[str, ...]:
    return tuple(piece for piece, _ in steps.pre_tokenize_str(probe()))


@functools.cache
def probe() -> str:
    """Return text with every three neighbours of the characters that some split treats apart."""
    return "".join(_every_triple(_KINDS)) + _LONGER


def _every_triple(kinds: str) -> Iterator[str]:
    """Yield characters so that every three of them are neighbours once (a de Bruijn sequence, by Lyndon words)."""
    last, count = [0], len(kinds)
    while last:
        if 3 % len(last) == 0:
            yield from (kinds[kind] for kind in last)
        last = [last[place % len(last)] for place in range(3)]
        while last and last[-1] == count - 1:
            last.pop()
        if last:
            last[-1] += 1
