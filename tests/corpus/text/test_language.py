import json
from pathlib import Path

import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from tinsmith.corpus.text.language import check_language, identify, known_languages
from tinsmith.recipe import CurateConfig

ENGLISH = "The licensee may copy and distribute the work under the terms of this agreement."
GERMAN = "Der Lizenznehmer darf das Werk unter den Bedingungen dieses Vertrags verbreiten."
# Three sentences in each of 45 languages, written for this test and for benchmarks/languages.py.
SAMPLES: dict[str, list[str]] = json.loads(
    (Path(__file__).parents[3] / "benchmarks" / "languages.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(("text", "code"), [(ENGLISH, "en"), (GERMAN, "de")])
def test_identify(text: str, code: str):
    found, probability = identify(text)
    assert found == code
    assert 0.5 < probability <= 1
    assert code in known_languages()


def test_a_long_text_is_judged_by_opening_and_middle():
    assert identify(GERMAN * 100)[0] == "de"
    assert identify("1 2 3 " * 2000 + ENGLISH * 100)[0] == "en"


def test_languages_drop_only_where_some_are_asked_for():
    english = CurateConfig(languages=("en",), min_language_probability=0.6)
    assert check_language("en", 0.9, english) is None
    assert check_language("de", 0.9, english).reason == "language"
    assert check_language("en", 0.59, english).reason == "language_unsure"
    assert check_language("de", 0.1, CurateConfig()) is None


def test_paragraphs_in_more_than_thirty_languages_are_told_apart():
    found = {code: identify(" ".join(sentences)) for code, sentences in SAMPLES.items()}
    wrong = {code: answer for code, answer in found.items() if answer[0] != code}
    assert len(SAMPLES) - len(wrong) >= 44, wrong
    assert set(wrong) <= {"id"}, "Indonesian and Malay share most words; nothing else may go wrong"
    assert min(probability for _, probability in found.values()) > 0.5


def test_single_sentences_are_told_apart():
    sentences = [(code, sentence) for code, group in SAMPLES.items() for sentence in group]
    right = sum(identify(sentence)[0] == code for code, sentence in sentences)
    assert right / len(sentences) > 0.98


def test_answers_are_those_of_the_library():
    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [" ".join(sentences) for sentences in SAMPLES.values()] + [
        ENGLISH.upper(),
        "",
        "1 2 3",
        "e\u0301\ud800",
    ]
    for text in texts:
        code, probability = library.classify(text)
        found, chance = identify(text)
        assert found == code
        assert chance == pytest.approx(probability, abs=1e-3)


def one_small_letter(text: str) -> str:
    return f"{text[: len(text) // 2].upper()} (a) {text[len(text) // 2 :].upper()}"


CAPITALS = {
    "capitals": str.upper,
    "one small letter": one_small_letter,
    "a unit": lambda text: text.upper().replace(".", " 5 kg."),
    "figures": lambda text: f"1.2 {text.upper()} 12/34 A1 7.5%",
    "short lines": lambda text: text.upper().replace(" ", "\n"),
    "a sentence in small letters": lambda text: f"{text} {text.upper()}",
    "caps lock": str.swapcase,
    "title": str.title,
}


@pytest.mark.parametrize("name", CAPITALS)
def test_capitals_are_read_as_small_letters_in_every_language(name: str):
    change = CAPITALS[name]
    found = {code: identify(change(" ".join(sentences))) for code, sentences in SAMPLES.items()}
    wrong = {code: answer for code, answer in found.items() if answer[0] != code}
    assert set(wrong) <= {"id"}, wrong
    assert min(probability for _, probability in found.values()) > 0.5


def test_a_heading_whose_words_begin_with_capitals_is_told_too():
    assert identify("Nobody May Own Another Person Or Force Them To Work Without Pay.")[0] == "en"


def test_english_in_other_alphabets_of_latin_is_english():
    small = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘqʀꜱᴛᴜᴠᴡxʏᴢ"
    styled = {
        "full width": {code: code + 0xFEE0 for code in range(0x41, 0x7B)},
        "mathematics": {code: 0x1D41A + code - 0x61 for code in range(0x61, 0x7B)},
        "small capitals": {code: ord(small[code - 0x61]) for code in range(0x61, 0x7B)},
    }
    for name, table in styled.items():
        found, probability = identify(ENGLISH.lower().translate(table))
        assert (found, probability > 0.9) == ("en", True), name


def test_usual_prose_is_read_as_it_stands():
    assert identify(f"{GERMAN} DIN-Normen")[1] != identify(f"{GERMAN.lower()} din-normen")[1]
