"""Ask datatrove's rules about documents: each rule alone, and what C4's leave of a text."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.workers.job import Job, read_job, write_json

_NO_QUALITY: dict[str, Any] = dict.fromkeys(
    [
        "min_doc_words",
        "max_doc_words",
        "min_avg_word_length",
        "max_avg_word_length",
        "max_symbol_word_ratio",
        "max_bullet_lines_ratio",
        "max_ellipsis_lines_ratio",
        "max_non_alpha_words_ratio",
        "min_stop_words",
    ]
)
_NO_REPETITION: dict[str, Any] = {
    **dict.fromkeys(["dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac"]),
    "top_n_grams": (),
    "dup_n_grams": (),
}
_NO_FINEWEB: dict[str, Any] = {
    "line_punct_thr": -1.0,
    "short_line_thr": 2.0,
    "char_duplicates_ratio": math.inf,
    "new_line_ratio": math.inf,
}
# Our name of a rule -> the fields that ask it, with the published thresholds.
_QUALITY: dict[str, dict[str, Any]] = {
    "too_few_words": {"min_doc_words": 50},
    "too_many_words": {"max_doc_words": 100_000},
    "short_words": {"min_avg_word_length": 3},
    "long_words": {"max_avg_word_length": 10},
    "symbols": {"max_symbol_word_ratio": 0.1},
    "bullet_lines": {"max_bullet_lines_ratio": 0.9},
    "ellipsis_lines": {"max_ellipsis_lines_ratio": 0.3},
    "few_alphabetic_words": {"max_non_alpha_words_ratio": 0.8},
    "few_stop_words": {"min_stop_words": 2},
}
_REPETITION: dict[str, dict[str, Any]] = {
    "duplicate_paragraphs": {"dup_para_frac": 0.3},
    "duplicate_paragraph_characters": {"dup_para_char_frac": 0.2},
    "duplicate_lines": {"dup_line_frac": 0.3},
    "duplicate_line_characters": {"dup_line_char_frac": 0.2},
    "top_bigram": {"top_n_grams": ((2, 0.2),)},
    "top_trigram": {"top_n_grams": ((3, 0.18),)},
    "top_fourgram": {"top_n_grams": ((4, 0.16),)},
    **{f"duplicate_{n}grams": {"dup_n_grams": ((n, (20 - n) / 100),)} for n in range(5, 11)},
}
_FINEWEB: dict[str, dict[str, Any]] = {
    "few_punctuated_lines": {"line_punct_thr": 0.12},
    "short_lines": {"short_line_thr": 0.67},
    "repeated_lines": {"char_duplicates_ratio": 0.1},  # as the paper says; the code's default is 0.01
    "many_line_breaks": {"new_line_ratio": 0.3},
}


def _filters() -> dict[str, Any]:
    from datatrove.pipeline import filters

    quality, repetition = filters.GopherQualityFilter, filters.GopherRepetitionFilter
    return {
        **{name: quality(**{**_NO_QUALITY, **fields}) for name, fields in _QUALITY.items()},
        **{name: repetition(**{**_NO_REPETITION, **fields}) for name, fields in _REPETITION.items()},
        **{
            name: filters.FineWebQualityFilter(**{**_NO_FINEWEB, **fields})
            for name, fields in _FINEWEB.items()
        },
    }


def _cut_words_once() -> Any:
    """Let all filters share the words of a text, which each would cut again; return what cuts them."""
    from datatrove.pipeline.filters import fineweb_quality_filter, gopher_quality_filter
    from datatrove.pipeline.filters import gopher_repetition_filter as repetition_filter
    from datatrove.utils.text import split_into_words

    cut = cache(split_into_words)
    for module in (fineweb_quality_filter, gopher_quality_filter, repetition_filter):
        module.split_into_words = cut
    return cut


def main(job: Job) -> None:
    """Write for each text the rules that drop it, what C4's say and leave, and its words."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import C4QualityFilter

    cut = _cut_words_once()
    every, c4 = _filters(), C4QualityFilter()
    answers = []
    for text in json.loads(Path(job.data).read_text()):
        broken = [name for name, each in every.items() if each.filter(Document(text, "")) is not True]
        document = Document(text, "")
        said = c4.filter(document)
        answers.append(
            {
                "broken": broken,
                "c4": "" if said is True else said[1],
                "left": document.text if said is True else "",
                "words": cut(text),
            }
        )
        cut.cache_clear()
    write_json(job, {"answers": answers})


if __name__ == "__main__":
    main(read_job())
