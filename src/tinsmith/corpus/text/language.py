"""Identify the language of a text (py3langid: naive Bayes over byte n-grams, Lui and Baldwin 2012).

The model and its decisions are the library's. The walk over the bytes is compiled here, since the library's own
takes longer than all filters together.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from tinsmith.corpus.rejection import Rejection
from tinsmith.corpus.text.kernels import compiled
from tinsmith.recipe import CurateConfig

UNSURE = "und"  # ISO 639 for an undetermined language
_WINDOW = 4000  # characters; more take time and do not change the decision
_MOST_CAPITALS = 0.1  # share of words in capitals up to which a text is read as it is
_MOST_TITLES = 0.6  # share of words that begin with a capital; German prose has a third
_STYLED = re.compile("[\u0250-\u02af\u1d00-\u1d2f\ua700-\ua7ff\uff21-\uff5a\U0001d400-\U0001d7ff]+")


class _Model(NamedTuple):
    """The library's automaton over bytes, and the weights of F features for L classes."""

    moves: NDArray[np.uint32]  # (rows, 256), the next state by byte
    rows: NDArray[np.uint32]  # (states,), the row of a state
    features: NDArray[np.int32]  # (states,), the feature that entering the state counts, or -1
    weights: NDArray[np.float32]  # (F, L)
    priors: NDArray[np.float32]  # (L,)


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@cache
def _model() -> _Model:
    library = _identifier()
    return _Model(
        np.asarray(library.tk_nextmove, dtype=np.uint32).reshape(-1, 256),
        np.asarray(library.tk_row, dtype=np.uint32),
        np.asarray(library.tk_output, dtype=np.int32),
        np.ascontiguousarray(library.nb_ptc, dtype=np.float32),
        np.asarray(library.nb_pc, dtype=np.float32),
    )


def known_languages() -> list[str]:
    """Return the sorted codes that `identify` can return."""
    return sorted(_identifier().labels)


def identify(text: str) -> tuple[str, float]:
    """Return the likeliest ISO 639 code and its probability; of a long text, opening and middle are read."""
    if len(text) > 2 * _WINDOW:
        middle = len(text) // 2
        text = text[:_WINDOW] + "\n" + text[middle : middle + _WINDOW]
    text = unicodedata.normalize("NFC", _usual_letters(text))
    data = text.encode("utf-8", "surrogatepass")
    library = _identifier()
    scores = _score(np.frombuffer(data, dtype=np.uint8), *_model()) / math.sqrt(len(data) or 1)
    chances = np.exp(scores - scores.max())
    chances /= chances.sum()
    for first, other in library._alias_pairs:  # a language in two scripts has two classes
        chances[first] += chances[other]
        chances[other] = 0.0
    best = int(chances.argmax())
    return str(library.nb_classes[best]), float(chances[best])


def _usual_letters(text: str) -> str:
    """Return a text in the letters that the model has learnt: hardly any capitals, no styled alphabets.

    It has seen few words in capitals, so a page of them is in no language that it knows, even with some small letters
    among them. In small letters every language is told as well as in its usual spelling.
    """
    if not text.isascii():
        text = _STYLED.sub(lambda run: run[0].translate(_unstyled()), text)
    words = text.split()
    capitals, titles = sum(map(str.isupper, words)), sum(map(str.istitle, words))
    unusual = capitals > _MOST_CAPITALS * len(words) or titles > _MOST_TITLES * len(words)
    return text.lower() if unusual else text


@cache
def _unstyled() -> dict[int, str]:
    """Return the usual letters of the characters that `_STYLED` matches: small capitals, full width, mathematics."""
    table = {}
    for code in (*range(0x250, 0x2B0), *range(0x1D00, 0x1D30), *range(0xA700, 0xA800)):
        name = unicodedata.name(chr(code), "")
        letter = name.removeprefix("LATIN LETTER SMALL CAPITAL ")
        if letter != name and len(letter) == 1:
            table[code] = letter.lower()
    return table | {
        code: unicodedata.normalize("NFKC", chr(code))
        for code in (*range(0xFF21, 0xFF5B), *range(0x1D400, 0x1D800))
    }


@compiled
def _score(
    data: NDArray[np.uint8],
    moves: NDArray[np.uint32],
    rows: NDArray[np.uint32],
    features: NDArray[np.int32],
    weights: NDArray[np.float32],
    priors: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Return the log-likelihood of each class (L,); zeros if the text has no feature."""
    counts = np.zeros(len(weights), np.int32)
    seen = np.empty(min(len(data), len(weights)), np.int32)
    distinct, state = 0, np.uint32(0)
    for byte in data:
        state = moves[rows[state], byte]
        feature = features[state]
        if feature >= 0:
            if counts[feature] == 0:
                seen[distinct] = feature
                distinct += 1
            counts[feature] += 1
    scores = np.zeros(len(priors), np.float32)
    if distinct:
        scores += priors
    for feature in seen[:distinct]:
        scores += np.float32(math.log1p(counts[feature])) * weights[feature]
    return scores


def check_language(language: str, probability: float, config: CurateConfig) -> Rejection | None:
    """Reject a document in another language than `config.languages`, or in an unsure one; empty accepts all."""
    if not config.languages:
        return None
    detail = f"{language} {probability:.2f}"
    if probability < config.min_language_probability:
        return Rejection("language_unsure", detail)
    return None if language in config.languages else Rejection("language", detail)
