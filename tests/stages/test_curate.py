import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tinsmith.base.erasure import ErasureList
from tinsmith.base.errors import CorpusError, RecipeError
from tinsmith.base.files import read_jsonl, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.text.repair import document_id
from tinsmith.pipeline.plan import check_recipe
from tinsmith.recipe import CurateConfig, IngestConfig, Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.stages.curate.run import curate
from tinsmith.stages.ingest.run import ingest as read_files

REGULATIONS = Path(__file__).parents[2] / ".." / "shared" / "data" / "cfpb-regs" / "regulation"
TOPICS = ("harbour", "orchard", "railway", "library", "kitchen", "glacier", "theatre", "foundry")
ENGLISH = (
    "the a of to and in that which with from under over by for shall may must not any all each other "
    "party licence work copy notice owner person terms agreement law right claim damage service "
    "software document payment date place court state party grant transfer modify distribute publish "
    "receive accept refuse provide require include exclude written exclusive reasonable lawful "
    "entire several former present future such before after during between through against without "
    "within because although where whether until "
)
SHORT = "The owner of the work may refuse any other use of it."
GERMAN = (
    "Der Lizenznehmer darf das Werk unter den Bedingungen dieses Vertrags vervielfältigen, "
    "verbreiten und anderen zugänglich machen, sofern er den Namen des Urhebers nennt und keine "
    "weiteren Rechte für sich in Anspruch nimmt. Eine Haftung für Schäden, die aus der Nutzung "
    "entstehen, ist ausgeschlossen, soweit das Gesetz es erlaubt. Jede Änderung muss schriftlich "
    "festgehalten werden, und zwar so, dass ein Dritter sie ohne Mühe erkennen kann. "
)


def prose(topic: str, changes: int = 0) -> str:
    """240 English words of its own about a topic, some of them changed, each far from the next."""
    generator = random.Random(topic)
    words = [topic if generator.random() < 0.05 else generator.choice(ENGLISH.split()) for _ in range(240)]
    for change in range(changes):
        words[7 + change * 11] = "x"
    return "\n".join(" ".join(words[i : i + 12]) for i in range(0, len(words), 12))


def ingest(directory: Path, texts: dict[str, str]) -> Path:
    """Write a table as the stage ingest leaves it."""
    rows = [
        {
            "doc_id": document_id(text),
            "text": text,
            "source": source,
            "sha256": document_id(source) * 2,
            "mime": "text/plain",
            "licence": "CC0-1.0",
            "language": "",
            "meta": json.dumps({"key": source}),
        }
        for source, text in texts.items()
    ]
    directory.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), directory / "documents.parquet")
    return directory


def run(tmp_path: Path, texts: dict[str, str], name: str = "curate", seed: int = 7, **config: object) -> Path:
    out = tmp_path / name
    out.mkdir()
    out.joinpath("statistics.json").write_text(
        json.dumps(
            curate(
                CurateConfig(**{"rules": ("gopher",), **config}),
                inputs={"ingest": ingest(tmp_path / "ingest", texts)},
                seed=seed,
                out=out,
                progress=SilentProgress(),
            )
        )
    )
    return out


def kept(out: Path) -> dict[str, dict]:
    return {row["source"]: row for row in pq.read_table(out / "documents.parquet").to_pylist()}


def rejected(out: Path) -> dict[str, dict]:
    return {row["source"]: row for row in pq.read_table(out / "rejects.parquet").to_pylist()}


@pytest.fixture
def mixed() -> dict[str, str]:
    """Eight good documents and one for each way to go."""
    texts = {f"{topic}.txt": prose(topic) for topic in TOPICS}
    return texts | {
        "a-copy.txt": prose("orchard"),
        "damaged-copy.txt": prose("railway").replace("\n", "\r\n") + "\u200b",
        "near.txt": prose("harbour", changes=1),
        "relative.txt": prose("harbour", changes=11),
        "short.txt": SHORT,
        "german.txt": GERMAN,
        "empty.txt": " \ufeff\n",
        "ruled.txt": "\n".join([prose("library").splitlines()[0] + " of the"] * 40),
    }


def test_each_document_goes_its_way(tmp_path, mixed):
    out = run(tmp_path, mixed, languages=("en",))
    assert set(kept(out)) == {f"{t}.txt" for t in TOPICS if t not in ("orchard", "railway")} | {
        "a-copy.txt",
        "damaged-copy.txt",
        "relative.txt",
    }
    gone = {source: row["reason"] for source, row in rejected(out).items()}
    assert gone == {
        "orchard.txt": "exact_duplicate",  # the smallest source stays
        "railway.txt": "exact_duplicate",  # equal once the other was repaired
        "near.txt": "near_duplicate",
        "short.txt": "too_few_words",
        "german.txt": "language",
        "empty.txt": "empty",
        "ruled.txt": "duplicate_lines",
    }
    rows = rejected(out)
    assert rows["orchard.txt"]["detail"] == "a-copy.txt"
    assert rows["near.txt"]["detail"] == kept(out)["harbour.txt"]["doc_id"]
    assert rows["near.txt"]["text"] == mixed["near.txt"]


def test_kept_rows_hold_repaired_text_and_all_columns(tmp_path, mixed):
    out = run(tmp_path, mixed)
    table = pq.read_table(out / "documents.parquet")
    assert table.column_names == [
        "doc_id",
        "text",
        "source",
        "sha256",
        "mime",
        "licence",
        "access",
        "language",
        "meta",
        "cluster",
    ]
    row = kept(out)["damaged-copy.txt"]
    assert row["text"] == prose("railway")
    assert row["doc_id"] == document_id(prose("railway"))
    assert (row["language"], row["licence"], json.loads(row["meta"])) == (
        "en",
        "CC0-1.0",
        {"key": "damaged-copy.txt"},
    )
    assert kept(out)["german.txt"]["language"] == "de"  # no language was asked for, so it stays
    assert pq.read_table(out / "rejects.parquet").column_names == [
        "doc_id",
        "source",
        "reason",
        "detail",
        "text",
    ]
    ids = table["doc_id"].to_pylist()
    assert ids == sorted(ids)


def test_a_sound_copy_stays_though_the_damaged_one_is_longer(tmp_path):
    copies = {"damaged.txt": prose("harbour") + "\ufffd\ufffd", "sound.txt": prose("harbour")}
    out = run(tmp_path, copies)
    assert (set(kept(out)), rejected(out)["damaged.txt"]["reason"]) == ({"sound.txt"}, "near_duplicate")


def test_relatives_bear_one_cluster_named_by_its_smallest_member(tmp_path, mixed):
    out = run(tmp_path, mixed)
    rows = kept(out)
    members = [document_id(mixed[name]) for name in ("harbour.txt", "near.txt", "relative.txt")]
    assert rows["harbour.txt"]["cluster"] == rows["relative.txt"]["cluster"] == min(members)
    assert rows["glacier.txt"]["cluster"] == rows["glacier.txt"]["doc_id"]


def test_clusters_do_not_hang_on_the_rules(tmp_path, mixed):
    strict = kept(run(tmp_path, mixed, "strict", languages=("en",), near_duplicate_jaccard=0.5))
    loose = kept(run(tmp_path, mixed, "loose", gopher={"min_words": 0}, near_duplicate_jaccard=1))
    assert len(strict) < len(loose)
    assert all(
        loose[source]["cluster"] == row["cluster"] for source, row in strict.items() if source in loose
    )
    assert {"near.txt", "relative.txt", "harbour.txt"} <= set(loose)  # 1 keeps near-duplicates


def test_a_cluster_is_named_by_a_member_that_a_rule_drops(tmp_path):
    short = prose("harbour", changes=11)
    long = min((f"{prose('harbour')}\n{topic} by {topic}" for topic in TOPICS), key=document_id)
    assert document_id(long) < document_id(short)
    out = run(tmp_path, {"long.txt": long, "short.txt": short}, gopher={"max_words": 241})
    assert rejected(out)["long.txt"]["reason"] == "too_many_words"
    assert kept(out)["short.txt"]["cluster"] == document_id(long)


def test_one_switches_duplicates_and_clusters_off(tmp_path):
    same = {"plain.txt": prose("glacier"), "commas.txt": prose("glacier").replace(" ", ", ")}  # Jaccard 1
    assert len(kept(run(tmp_path, same, "on"))) == 1
    together = kept(run(tmp_path, same, "together", near_duplicate_jaccard=1))
    assert len(together) == 2
    assert len({row["cluster"] for row in together.values()}) == 1
    apart = kept(run(tmp_path, same, "apart", near_duplicate_jaccard=1, cluster_jaccard=1))
    assert all(row["cluster"] == row["doc_id"] for row in apart.values())
    assert len(apart) == 2


def test_an_unsure_language_is_said_to_be_unsure(tmp_path):
    texts = {"unsure.txt": "OK fine", "sure.txt": prose("harbour")}
    rows = kept(run(tmp_path, texts, gopher={"min_words": 0}))
    assert {source: row["language"] for source, row in rows.items()} == {
        "unsure.txt": "und",
        "sure.txt": "en",
    }
    out = run(tmp_path, texts, "asked", gopher={"min_words": 0}, languages=("en",))
    assert rejected(out)["unsure.txt"]["reason"] == "language_unsure"


def test_the_funnel_adds_up(tmp_path, mixed):
    out = run(tmp_path, mixed, languages=("en",))
    rows = list(read_jsonl(out / "funnel.jsonl"))
    first, *between, last = rows
    assert (first["step"], last["step"]) == ("ingested", "kept")
    for count in ("documents", "bytes"):
        assert first[count] - sum(row[count] for row in between) == last[count]
    assert first == {
        "step": "ingested",
        "reason": "",
        "documents": len(mixed),
        "bytes": sum(len(text.encode()) for text in mixed.values()),
    }
    texts = pq.read_table(out / "documents.parquet")["text"].to_pylist()
    assert last["documents"] == len(texts)
    assert last["bytes"] == sum(len(text.encode()) for text in texts)
    reasons = {row["reason"]: row["documents"] for row in between}
    assert reasons["exact_duplicate"] == 2
    assert reasons["too_few_words"] == 1
    assert reasons["top_bigram"] == 0  # asked, and dropped none
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["documents_dropped"] == sum(reasons.values())
    assert statistics["bytes_kept"] == last["bytes"]
    assert statistics["documents_repaired"] == 2


def test_rules_that_were_not_asked_are_not_in_the_funnel(tmp_path, mixed):
    out = run(tmp_path, mixed, near_duplicate_jaccard=1)
    reasons = {row["reason"] for row in read_jsonl(out / "funnel.jsonl")}
    assert not reasons & {"language", "language_unsure", "near_duplicate"}


def test_two_runs_are_equal_byte_for_byte(tmp_path, mixed):
    outs = [run(tmp_path, mixed, "one"), run(tmp_path, dict(reversed(mixed.items())), "two")]
    for name in ("documents.parquet", "rejects.parquet", "funnel.jsonl"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


def test_all_dropped_says_by_which_rules_and_what_to_loosen(tmp_path):
    texts = {"one.txt": SHORT, "two.txt": SHORT.upper(), "drei.txt": GERMAN}
    with pytest.raises(CorpusError) as caught:
        run(tmp_path, texts, languages=("en",))
    message = str(caught.value)
    assert "all 3 documents were dropped: 2 by too_few_words, 1 by language" in message
    assert "curate.gopher.min_words (now 50)" in message
    assert "curate.languages (now en)" in message
    assert "rejects.parquet" in message
    assert len(rejected(tmp_path / "curate")) == 3  # to be looked at


def test_no_documents_at_all(tmp_path):
    table = pa.schema(
        [
            (name, pa.string())
            for name in ("doc_id", "text", "source", "sha256", "mime", "licence", "language", "meta")
        ]
    )
    (tmp_path / "ingest").mkdir()
    pq.write_table(table.empty_table(), tmp_path / "ingest" / "documents.parquet")
    with pytest.raises(CorpusError, match="no documents"):
        curate(
            CurateConfig(),
            inputs={"ingest": tmp_path / "ingest"},
            seed=7,
            out=tmp_path,
            progress=SilentProgress(),
        )


def test_an_unknown_language_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(RecipeError, match=r"(?s)curate\.languages: unknown language english.*\ben\b"):
        run(tmp_path, {"a": prose("harbour")}, languages=("english",))


def test_the_looser_threshold_may_not_be_the_stricter(tmp_path):
    data = {"name": "x", "ingest": {"sources": ["."]}, "curate": {"cluster_jaccard": 0.8}}
    with pytest.raises(RecipeError, match="cluster_jaccard must not exceed"):
        parse_recipe(data, where="recipe")
    data["curate"] = {"cluster_jaccard": 0.8, "near_duplicate_jaccard": 0.9}
    assert isinstance(parse_recipe(data, where="recipe"), Recipe)


def rows(out: Path, name: str) -> list[dict]:
    return list(read_jsonl(out / name))


def test_what_was_refused_hidden_and_replaced_is_counted_beside_the_documents(tmp_path):
    texts = {
        "board/minutes.txt": prose("harbour") + "\nSecret of the board.",
        "letters/a.txt": prose("orchard")
        + "\nWrite to jane.doe@example.org or to jane.doe@example.org today.",
        "letters/b.txt": prose("railway") + "\nThe token is AKIAIOSFODNN7EXAMPLE, keep it.",
        "letters/c.txt": prose("library").replace("the", "t\u200bhe", 3),
    }
    out = run(
        tmp_path,
        texts,
        rules=(),
        rights={"rules": [{"path": "board/*", "access": "secret"}], "deny_access": ["secret"]},
        privacy={"actions": {"email": "replace", "cloud_key": "drop"}},
    )
    assert set(kept(out)) == {"letters/a.txt", "letters/c.txt"}
    text = kept(out)["letters/a.txt"]["text"]
    assert "example.org" not in text
    assert text.count("[EMAIL_1]") == 2
    gone = rejected(out)
    assert (gone["board/minutes.txt"]["reason"], gone["letters/b.txt"]["reason"]) == (
        "access_refused",
        "credential",
    )
    for path in out.glob("*"):  # neither the secret nor the key is in any file, compressed ones read
        content = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text()
        assert "Secret of the board" not in content
        assert "AKIAIOSFODNN7EXAMPLE" not in content
    refused = [row for row in rows(out, "rights.jsonl") if row["verdict"] != "allowed"]
    assert [(row["access"], row["verdict"], row["documents"]) for row in refused] == [
        ("secret", "access_refused", 1)
    ]
    (hidden,) = rows(out, "hidden.jsonl")
    assert hidden == {"kind": "zero_width", "count": 3, "documents": 1}
    private = {row["type"]: row for row in rows(out, "privacy.jsonl")}
    assert private["email"] == {"type": "email", "action": "replace", "count": 2, "documents": 1}
    assert private["person"]["count"] is None  # not looked for, which is not the same as none


def test_a_rights_rule_that_labels_no_document_stops_the_stage(tmp_path):
    texts = {"docs/board/minutes.txt": prose("harbour"), "docs/news.txt": prose("orchard")}
    register = tmp_path / "register.csv"
    register.write_text("source,access\nnews.txt,public\nold/*,secret\n")
    rights = {
        "file": str(register),
        "rules": [{"path": "bord/*", "access": "secret"}],
        "deny_access": ["secret"],
    }
    with pytest.raises(RecipeError) as caught:
        run(tmp_path, texts, rights=rights)
    assert "curate.rights.rules[0] (bord/*) matches no document" in str(caught.value)
    assert f"{register}, line 3 (old/*) matches no document" in str(caught.value)
    assert "line 2" not in str(caught.value)
    rights = {"rules": [{"path": "*", "access": "public"}, {"path": "board/*", "access": "secret"}]}
    with pytest.raises(RecipeError, match=r"rules\[1\] \(board/\*\) is overruled"):
        run(tmp_path, texts, "behind", rights=rights)
    rights = {"rules": list(reversed(rights["rules"])), "deny_access": ["secrit"]}
    with pytest.raises(RecipeError, match=r"'secrit' matches no access label .* \(public, secret\)"):
        run(tmp_path, texts, "misspelt", rights=rights)
    rights["deny_access"] = ["secret"]
    assert set(kept(run(tmp_path, texts, "mended", rules=(), rights=rights))) == {"docs/news.txt"}


@pytest.mark.parametrize("action", ["replace", "drop"])
def test_an_action_on_what_no_rule_finds_is_refused_before_any_document_is_read(action):
    recipe = {"name": "mine", "ingest": {"sources": ["docs"]}, "curate": {"privacy": {}}}
    privacy = recipe["curate"]["privacy"]
    privacy["actions"] = {"organisation": action, "person": action}
    with pytest.raises(RecipeError, match=r"actions\.organisation: .*no rule finds this type"):
        check_recipe(Recipe.model_validate(recipe))
    for accepted in ({"recogniser": "spacy:any"}, {"actions": {"organisation": "keep", "person": action}}):
        check_recipe(Recipe.model_validate(recipe | {"curate": {"privacy": privacy | accepted}}))


def test_rules_count_files_that_ingest_dropped_or_was_made_to_forget(tmp_path):
    folder, out = ingest(tmp_path / "ingest", {"a.txt": prose("harbour")}), tmp_path / "out"
    out.mkdir()
    write_jsonl(
        folder / "files.jsonl", [{"source": "a.txt"}, {"source": "scanned.pdf"}, {"source": "gone.txt"}]
    )
    paths = ("scanned.pdf", "gone.txt", "erased.txt")
    config = CurateConfig(rights={"rules": [{"path": path, "access": "secret"} for path in paths]})
    arguments = {"inputs": {"ingest": folder}, "seed": 7, "out": out, "progress": SilentProgress()}
    with pytest.raises(RecipeError, match=r"rules\[2\] \(erased.txt\) matches no document"):
        curate(config, **arguments)
    curate(config, **arguments, forgotten=ErasureList(sources=frozenset({"erased.txt"})))
    assert set(kept(out)) == {"a.txt"}


def test_a_copy_that_may_be_used_stays_beside_one_that_may_not(tmp_path):
    texts = {"a/minutes.txt": prose("harbour"), "b/minutes.txt": prose("harbour")}
    rights = {"rules": [{"path": "a/*", "access": "secret"}], "deny_access": ["secret"]}
    out = run(tmp_path, texts, rights=rights)
    assert set(kept(out)) == {"b/minutes.txt"}
    assert rejected(out)["a/minutes.txt"]["reason"] == "access_refused"


def test_a_text_is_forgotten_by_its_id_before_or_after_it_was_curated(tmp_path):
    texts = {name: prose(name).replace("\n", "\r\n") for name in ("harbour", "orchard", "railway")}
    ids = {document_id(texts["harbour"]), document_id(prose("orchard"))}
    out = tmp_path / "out"
    out.mkdir()
    folder = ingest(tmp_path / "ingest", texts)
    forgotten = ErasureList(documents=frozenset(ids))
    arguments = {"inputs": {"ingest": folder}, "seed": 7, "out": out, "progress": SilentProgress()}
    curate(CurateConfig(), **arguments, forgotten=forgotten)
    assert set(kept(out)) == {"railway"}
    gone = {source: (row["reason"], row["text"]) for source, row in rejected(out).items()}
    assert gone == dict.fromkeys(("harbour", "orchard"), ("forgotten", ""))


def test_of_versions_the_newest_stays(tmp_path):
    first, second, third = (prose("harbour", changes=n) for n in (2, 1, 0))
    texts = {
        "rule-2011.txt": third + "\nMore words in the old one.",
        "rule-2019.txt": second,
        "rule-2016.txt": first,
    }
    newest = run(tmp_path, texts, "newest", keep="newest", rules=())
    assert set(kept(newest)) == {"rule-2019.txt"}
    assert set(kept(run(tmp_path, texts, "longest", rules=()))) == {"rule-2011.txt"}


@pytest.mark.skipif(not REGULATIONS.is_dir(), reason="shared/data/cfpb-regs is not beside the checkout")
def test_of_a_regulations_real_versions_the_newest_stays(tmp_path):
    folder = tmp_path / "ingest"
    folder.mkdir()
    config = IngestConfig(sources=(str(REGULATIONS / "1002"),))
    read_files(config, out=folder, progress=SilentProgress())
    out = tmp_path / "curate"
    out.mkdir()
    config = CurateConfig(keep="newest", rules=())
    curate(config, inputs={"ingest": folder}, seed=7, out=out, progress=SilentProgress())
    versions = sorted(path.name for path in (REGULATIONS / "1002").iterdir())
    assert [Path(source).name for source in kept(out)] == [versions[-1]]
    assert len(rejected(out)) == len(versions) - 1 > 3


def test_a_text_of_many_megabytes_in_one_line_is_judged_like_any_other(tmp_path):
    line = " ".join(prose("glacier").split()) + " "
    texts = {"long.txt": line * (8_000_000 // len(line)), "good.txt": prose("orchard")}
    out = run(tmp_path, texts, rules=("gopher_quality",))
    assert set(kept(out)) == {"good.txt"}
    assert rejected(out)["long.txt"]["reason"] == "too_many_words"
    assert set(kept(run(tmp_path, texts, "without", rules=()))) == {"long.txt", "good.txt"}
