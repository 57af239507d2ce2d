"""Which language a text is in (py3langid: naive Bayes over byte n-grams, Lui and Baldwin 2012)."""

from __future__ import annotations

from functools import cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from tinsmith.corpus.drop import Drop
from tinsmith.recipe import CurateConfig

UNSURE = "und"  # ISO 639 for an undetermined language
_WINDOW = 4000  # characters; the decision does not change beyond, the time does


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def known_languages() -> list[str]:
    """Return the codes that `identify` can answer, sorted."""
    return sorted(_identifier().labels)


def identify(text: str) -> tuple[str, float]:
    """Return the likeliest ISO 639 code and its probability, judged by a long text's opening and middle."""
    if len(text) > 2 * _WINDOW:
        middle = len(text) // 2
        text = text[:_WINDOW] + "\n" + text[middle : middle + _WINDOW]
    code, probability = _identifier().classify(text)
    return str(code), float(probability)


def judge_language(language: str, probability: float, config: CurateConfig) -> Drop | None:
    """Drop a document in a language not asked for, or an unsure one; keep all if none was asked for."""
    if not config.languages:
        return None
    detail = f"{language} {probability:.2f}"
    if probability < config.min_language_probability:
        return Drop("language_unsure", detail)
    return None if language in config.languages else Drop("language", detail)
