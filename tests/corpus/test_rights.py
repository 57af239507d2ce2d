"""Licence and access labels: where they come from, what is allowed, what a mistake in the file looks like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinsmith.base.erasure import ErasureList
from tinsmith.base.errors import RecipeError
from tinsmith.corpus.licences import normalise, normalise_expression
from tinsmith.corpus.rights import REASONS, TEXTLESS, Labels, Rights, read_register, refuse
from tinsmith.recipe import RightsConfig


def check(config: RightsConfig, source: str = "docs/a.txt", licence: str = "", **meta: object):
    return Rights(config).check(source, "0" * 64, licence, json.dumps(meta))


@pytest.mark.parametrize(
    ("written", "spdx"),
    [
        ("CC BY 4.0", "CC-BY-4.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/3.0/us/", "CC-BY-NC-SA-3.0-US"),
        ("https://creativecommons.org/licenses/by/4.0/deed.en", "CC-BY-4.0"),
        ("Creative Commons Attribution-NonCommercial 4.0 International Public License", "CC-BY-NC-4.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("The MIT License (MIT)", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("https://www.apache.org/licenses/LICENSE-2.0.txt", "Apache-2.0"),
        ("GPLv3", "GPL-3.0-only"),
        ("GNU Affero General Public License v3 or later", "AGPL-3.0-or-later"),
        ("lgpl-2.1+", "LGPL-2.1-or-later"),
        ('BSD 2-Clause "Simplified" License', "BSD-2-Clause"),
        ("Mozilla Public License 2.0", "MPL-2.0"),
        # Two that sound alike and are opposites: npm's word for "no licence at all", and a licence.
        ("UNLICENSED", "UNLICENSED"),
        ("The Unlicense", "Unlicense"),
        ("Gemma Terms of Use", "Gemma Terms of Use"),
        ("All rights reserved", "All rights reserved"),
        ("", ""),
    ],
)
def test_licences_go_by_their_spdx_id(written: str, spdx: str) -> None:
    assert normalise(written) == spdx
    assert normalise(spdx) == spdx


def test_each_licence_of_an_expression_goes_by_its_id() -> None:
    assert (
        normalise_expression("(MIT License OR GPLv2) AND CC BY 4.0") == "(MIT OR GPL-2.0-only) AND CC-BY-4.0"
    )


def test_the_nearest_statement_wins_for_each_label_on_its_own(tmp_path: Path) -> None:
    register = tmp_path / "register.csv"
    register.write_text(
        "source,licence,access\ncontracts/*,,internal\ncontracts/one.txt,CC BY 4.0,\nodd[1].txt,MIT,\n"
    )
    rules = (
        {"path": "contracts/o*", "licence": "Apache 2.0"},
        {"path": "contracts/*", "licence": "proprietary", "access": "secret"},
        {"path": "*.md", "access": "public"},
    )
    config = RightsConfig(rules=rules, file=str(register))
    own = {"License": "GPLv3", "classification": "restricted"}
    found = {
        source: check(config, source, licence="from-corpus", **meta)[:2]
        for source, meta in {
            "docs/contracts/one.txt": own,  # the file names it; its pattern gives the access label
            "docs/contracts/other.txt": own,  # the first rule that fits, before what the document says
            "docs/contracts/two.txt": own,
            "docs/notes/a.md": own,
            "docs/notes/b.txt": own,
            "corpus:notes/c.txt": {},
            "docs/odd[1].txt": {},  # a name that is a pattern too
        }.items()
    }
    assert found == {
        "docs/contracts/one.txt": ("CC-BY-4.0", "internal"),
        "docs/contracts/other.txt": ("Apache-2.0", "internal"),
        "docs/contracts/two.txt": ("proprietary", "internal"),
        "docs/notes/a.md": ("GPL-3.0-only", "public"),
        "docs/notes/b.txt": ("GPL-3.0-only", "restricted"),
        "corpus:notes/c.txt": ("from-corpus", ""),
        "docs/odd[1].txt": ("MIT", ""),
    }


def test_what_metadata_hold_is_read_whatever_its_form() -> None:
    config = RightsConfig()
    assert check(config, license=["MIT License", "CC BY 4.0"], ACCESS=" Internal ")[:2] == (
        "MIT AND CC-BY-4.0",
        "Internal",
    )
    assert check(config, license={"id": "MIT"}, access=3)[:2] == ("", "")
    for meta in ("", "[1]", "{broken"):
        assert Rights(config).check("a", "0", "MIT", meta) == ("MIT", "", None)


@pytest.mark.parametrize(
    ("licence", "allow", "deny", "refused"),
    [
        ("MIT", (), (), ""),
        ("GPL-3.0-or-later", (), ("gpl*",), "GPL-3.0-or-later is denied by gpl*"),
        ("GPL v3", (), ("gpl-3.0",), "GPL v3 is denied by gpl-3.0"),
        ("CC BY-NC 4.0", ("CC-BY-[0-9]*",), (), "CC BY-NC 4.0 is not among those allowed"),
        ("CC BY 4.0", ("CC-BY-[0-9]*",), (), ""),
        ("mit license", ("MIT",), (), ""),
        ("MIT", ("*",), ("mit",), "MIT is denied by mit"),
        ("", ("MIT",), (), "unknown is not among those allowed"),
        ("", ("MIT", "unknown"), (), ""),
        ("", (), ("unknown",), "unknown is denied by unknown"),
        ("MIT AND GPL-2.0", ("MIT",), (), "GPL-2.0 is not among those allowed"),
        ("MIT OR GPL-2.0", ("MIT",), (), ""),
        ("GPL-2.0 OR GPL-3.0", ("MIT",), (), "GPL-2.0 is not among those allowed"),
        ("MIT AND (GPL-2.0 OR Apache-2.0)", ("MIT", "Apache*"), (), ""),
        ("GPL-2.0 AND MIT OR MIT", ("MIT",), (), ""),
        ("(MIT AND", ("MIT",), (), "(MIT AND is not among those allowed"),
    ],
)
def test_denied_is_stronger_than_allowed_and_expressions_count_whole(licence, allow, deny, refused) -> None:
    assert refuse(licence, allow, deny) == refused


def test_a_refused_document_says_by_which_label() -> None:
    config = RightsConfig(deny_licences=("GPL*",), allow_access=("public", "internal"))
    assert check(config, licence="GPLv2", access="public")[2] == (
        "licence_refused",
        "GPL-2.0-only is denied by GPL*",
    )
    assert check(config, licence="MIT", access="Secret")[2] == (
        "access_refused",
        "Secret is not among those allowed",
    )
    assert check(config, licence="MIT", access="Public")[2] is None
    assert set(REASONS) == TEXTLESS == {"forgotten", "licence_refused", "access_refused"}


def test_what_is_forgotten_goes_by_file_path_and_text() -> None:
    rights = Rights(RightsConfig(), ErasureList(frozenset({"d1"}), frozenset({"s1"}), frozenset({"a.txt"})))
    assert rights.check("b.txt", "s1", "", "{}")[2] == ("forgotten", "file")
    assert rights.check("a.txt", "s2", "", "{}")[2] == ("forgotten", "file")
    assert rights.check("b.txt", "s2", "", "{}")[2] is None
    assert rights.check_erased("d1") == ("forgotten", "text")
    assert rights.check_erased("d2") is None


SOURCES = ("docs/board/a.pdf", "docs/board/b.pdf", "docs/news/c.txt")


def faults(*rules: dict[str, str], register: Path | None = None, sources: tuple[str, ...] = SOURCES) -> str:
    try:
        Rights(RightsConfig(rules=rules, file=str(register or ""))).check_all_apply(sources)
    except RecipeError as error:
        return str(error)
    return ""


def test_a_rule_that_matches_no_document_is_named_with_its_place(tmp_path: Path) -> None:
    register = tmp_path / "r.csv"
    register.write_text("source,licence\ngone.txt,MIT\na.pdf,MIT\n*.doc,MIT\n")
    told = faults({"path": "bord/*", "access": "x"}, {"path": "news/*", "access": "y"}, register=register)
    assert f"{register}, line 2 (gone.txt) matches no document" in told
    assert f"{register}, line 4 (*.doc) matches no document" in told
    assert "curate.rights.rules[0] (bord/*) matches no document" in told
    assert "line 3" not in told
    assert "rules[1]" not in told
    assert "\n  -> correct the pattern" in told


@pytest.mark.parametrize(
    "rules",
    [
        ({"path": "*", "access": "public"}, {"path": "board/*", "access": "secret"}),
        ({"path": "*.pdf", "access": "public"}, {"path": "board/*", "access": "secret"}),
        ({"path": "*", "access": "public"}, {"path": "*", "access": "secret"}),
    ],
)
def test_a_rule_behind_a_broader_one_is_named_with_what_overrules_it(
    rules: tuple[dict[str, str], ...],
) -> None:
    told = faults(*rules)
    first, second = (rule["path"] for rule in rules)
    assert (
        f"rules[1] ({second}) is overruled for every document it matches by curate.rights.rules[0] ({first})"
        in told
    )


@pytest.mark.parametrize(
    "rules",
    [
        ({"path": "board/a*", "access": "secret"}, {"path": "board/*", "access": "internal"}),
        ({"path": "*", "access": "public"}, {"path": "board/*", "licence": "MIT"}),  # another label
        ({"path": "*", "access": "public"}, {"path": "board/*", "access": "public"}),  # says the same
        # A default for documents to come.
        (
            {"path": "board/*", "access": "secret"},
            {"path": "news/*", "access": "public"},
            {"path": "*", "access": "secret"},
        ),
    ],
)
def test_rules_that_label_something_pass(rules: tuple[dict[str, str], ...]) -> None:
    assert faults(*rules) == ""


def test_a_rule_whose_label_is_blank_is_named(tmp_path: Path) -> None:
    assert "curate.rights.rules[0] (board/*) gives no label" in faults({"path": "board/*", "access": " "})


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (
            {"deny_access": ("secrit",)},
            r"deny_access.*'secrit' matches no access label .* \(public, secret, staff\)",
        ),
        ({"deny_access": ("sercet*", "secret")}, r"'sercet\*' matches no access label"),
        ({"deny_licences": ("GPL-3.0-onyl",)}, r"deny_licences.*'GPL-3.0-onyl' .* \(MIT, Own terms\)"),
        ({"deny_licences": ("*-MC-*",)}, r"'\*-MC-\*' matches no known licence"),
        ({"allow_licences": ("MTI", "MIT")}, r"allow_licences.*'MTI'"),
        ({"deny_access": ("SECRET", "sta*", "unknown")}, ""),
        ({"deny_licences": ("*-NC-*", "unknown", "own terms", "gpl*", "CC BY-NC 4.0", "AGPLv3")}, ""),
        ({"allow_licences": ("CC-BY-[0-9]*", "apache 2.0", "OFL*")}, ""),
        ({"allow_access": ("public", "internal")}, ""),
    ],
)
def test_a_misspelt_pattern_is_refused_with_the_labels_there_are(
    config: dict[str, tuple[str, ...]], told: str
) -> None:
    rights = Rights(RightsConfig(rules=({"path": "board/*", "access": "secret"},), **config))
    documents = [
        ("docs/board/a.pdf", "", "MIT", "{}"),
        ("docs/news/c.txt", "", "MIT AND Own terms", "{}"),
        ("docs/d.txt", "", "", '{"access": "public"}'),
        ("docs/e.txt", "", "", '{"access": "staff"}'),
    ]
    if told:
        with pytest.raises(RecipeError, match=told):
            rights.check_patterns(documents)
    else:
        rights.check_patterns(documents)


def test_of_many_faults_the_first_are_named() -> None:
    told = faults(*({"path": f"none{number}", "access": "x"} for number in range(25)))
    assert "none9" in told
    assert "none10" not in told
    assert "and 15 more" in told


def test_a_rule_that_sets_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a rule that sets nothing: give docs/"):
        RightsConfig(rules=({"path": "docs/*"},))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name,licence\na,MIT\n", "needs the columns source, licence, access; it has licence"),
        (b"source,owner\na,me\n", "needs the columns"),
        (b"", "it has none of these"),
        (b"source,licence\n,MIT\n", "line 2 has no source"),
        (b"source,licence\na,\n", "line 2 sets neither licence nor access for a"),
        (b"source,licence\na,MIT\nb,MIT\na,GPL\n", "line 4 contradicts an earlier line on a"),
        (b"source,licence\n\xe4,MIT\n", "is not CSV in UTF-8"),
        (b"source,licence,acces\na,MIT,secret\n", "has a column acces"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "register.csv"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"curate\.rights\.file") as told:
        Rights(RightsConfig(file=str(path)))
    assert words in str(told.value)
    assert "\n  -> " in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        read_register(tmp_path / "none.csv")


def test_a_file_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "register.csv"
    path.write_bytes(b'\xef\xbb\xbfAccess,Source,License,note\r\n internal ,"a, b.txt",MIT,x\r\n\r\n')
    (row,) = read_register(path).values()
    assert row == ("a, b.txt", Labels("MIT", "internal"), f"{path}, line 2")
