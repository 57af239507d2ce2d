import pytest

from tinsmith.corpus.language import identify, judge_language, known_languages
from tinsmith.recipe import CurateConfig

ENGLISH = "The licensee may copy and distribute the work under the terms of this agreement."
GERMAN = "Der Lizenznehmer darf das Werk unter den Bedingungen dieses Vertrags verbreiten."


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
    assert judge_language("en", 0.9, english) is None
    assert judge_language("de", 0.9, english).reason == "language"
    assert judge_language("en", 0.59, english).reason == "language_unsure"
    assert judge_language("de", 0.1, CurateConfig()) is None
