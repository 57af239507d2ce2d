"""The recipe sections of published filters: thresholds of their rules about documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tinsmith.recipe.section import Fraction, ReadWhen, Section

_Repetition = Annotated[
    Fraction,
    ReadWhen(lambda recipe, gopher: "gopher" in recipe.curate.rules, "put 'gopher' into curate.rules"),
]


class GopherConfig(Section):
    """Rules about words and repetition, thresholds of Rae et al. 2021 (arXiv 2112.11446, appendix A)."""

    min_words: int = Field(50, ge=0, description="published: 50")
    max_words: int = Field(100_000, gt=0, description="published: 100,000")
    min_mean_word_length: float = Field(3.0, description="characters, published: 3")
    max_mean_word_length: float = Field(10.0, description="characters, published: 10")
    max_symbol_word_ratio: float = Field(0.1, description="# and ellipsis per word, published: 0.1")
    max_bullet_lines: Fraction = Field(0.9, description="share that starts with a bullet, published: 0.9")
    max_ellipsis_lines: Fraction = Field(0.3, description="share that ends in an ellipsis, published: 0.3")
    min_alphabetic_words: Fraction = Field(0.8, description="share of words with a letter, published: 0.8")
    min_stop_words: int = Field(
        2,
        ge=0,
        le=8,
        description="distinct ones of the, be, to, of, and, that, have, with; English only, published: 2",
    )
    max_duplicate_lines: _Repetition = Field(0.3, description="share of lines, published: 0.3")
    max_duplicate_paragraphs: _Repetition = Field(0.3, description="share of paragraphs, published: 0.3")
    max_duplicate_line_characters: _Repetition = Field(
        0.2, description="share of characters in repeated lines, published: 0.2"
    )
    max_duplicate_paragraph_characters: _Repetition = Field(
        0.2, description="share of characters in repeated paragraphs, published: 0.2"
    )
    max_top_bigram: _Repetition = Field(
        0.2, description="share of characters in the commonest 2-gram of words, published: 0.2"
    )
    max_top_trigram: _Repetition = Field(0.18, description="the same for 3-grams, published: 0.18")
    max_top_fourgram: _Repetition = Field(0.16, description="the same for 4-grams, published: 0.16")
    max_duplicate_5grams: _Repetition = Field(
        0.15, description="share of characters in repeated 5-grams of words, published: 0.15"
    )
    max_duplicate_6grams: _Repetition = Field(0.14, description="the same for 6-grams, published: 0.14")
    max_duplicate_7grams: _Repetition = Field(0.13, description="the same for 7-grams, published: 0.13")
    max_duplicate_8grams: _Repetition = Field(0.12, description="the same for 8-grams, published: 0.12")
    max_duplicate_9grams: _Repetition = Field(0.11, description="the same for 9-grams, published: 0.11")
    max_duplicate_10grams: _Repetition = Field(0.1, description="the same for 10-grams, published: 0.1")


class C4Config(Section):
    """Rules that drop lines or documents, after Raffel et al. 2020 (arXiv 1910.10683) and their code."""

    terminal_punctuation: bool = Field(
        True, description="drop lines that do not end a sentence, published: true"
    )
    citations: bool = Field(True, description="delete marks such as [12] and [edit], published: true")
    min_words_per_line: int = Field(3, ge=0, description="drop shorter lines; 0 is off, published: 3")
    max_word_length: int = Field(
        1000, gt=0, description="characters; drop lines with a longer word, published: 1,000"
    )
    javascript: bool = Field(True, description="drop lines with that word, published: true")
    policies: bool = Field(True, description="drop lines about cookies or terms of use, published: true")
    lorem_ipsum: bool = Field(True, description="drop the document, published: true")
    curly_bracket: bool = Field(True, description="drop the document, published: true")
    min_sentences: int = Field(5, ge=0, description="in the lines that remain; 0 is off, published: 5")
    bad_words: tuple[str, ...] = Field((), description="documents with one of these words are dropped")


class FineWebConfig(Section):
    """Rules about the shape of lines, thresholds of Penedo et al. 2024 (arXiv 2406.17557)."""

    min_punctuated_lines: Fraction = Field(
        0.12, description="share of lines that end in a full stop or the like, published: 0.12"
    )
    max_short_lines: Fraction = Field(0.67, description="share of short lines, published: 0.67")
    short_line: int = Field(30, ge=0, description="most characters of a short line, published: 30")
    max_duplicate_line_characters: Fraction = Field(
        0.1, description="share of characters in repeated lines, published: 0.1 (0.01 in FineWeb's code)"
    )
    max_line_breaks_per_word: float = Field(0.3, ge=0, description="lists have more, in FineWeb's code: 0.3")
