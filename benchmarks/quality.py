"""Seconds to the same held-out bits per byte: budgets of their own for Tinsmith and for a tuned peer.

Every run is kept as JSON under the work directory by what it depends on, so an interrupted study goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks import prepare
from benchmarks.evidence import write_evidence
from benchmarks.paths import HERE, ROOT, WORK
from benchmarks.peers import OURS
from benchmarks.processes import run_worker
from benchmarks.quality_table import body
from benchmarks.studies import STUDIES, Study
from benchmarks.workers.job import Job
from tinsmith import load_recipe
from tinsmith.base.files import read_json, sha256_file, sha256_json, write_json
from tinsmith.evaluate.families.bits import choose_documents
from tinsmith.model.families import create
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer

_PEER = "transformers"
_SEED = 5
Result = dict[str, Any]


def run(name: str, *, quick: bool) -> None:
    """Run or resume a study and write `results/NAME` (`NAME-quick` where it is quick)."""
    study = STUDIES[name].quick() if quick else STUDIES[name]
    print(f"{name}: {study.minutes:.0f} minutes at most; finished runs are kept", flush=True)
    bench = _Bench(study)
    tuned = bench.tune()
    ours, theirs = [], []
    for place in range(max(len(study.ours), len(study.peers))):  # in turns, as far as both have budgets
        if place < len(study.ours):
            ours.append(bench.ours(study.ours[place]))
        if place < len(study.peers):
            theirs.append(
                bench.theirs(study.peers[place], tuned["rate"], tuned["batch"], bench.all, bench.held_out)
            )
    start = bench.untrained()
    facts = {
        "study": asdict(study),
        "recipe": (HERE / "recipes" / f"{name}.toml").read_text(),
        "tuning": bench.grid,
        "chosen": {key: tuned[key] for key in ("rate", "batch")},
        "untrained": start,
        "ours": ours,
        "theirs": theirs,
    }
    write_evidence(f"{name}-quick" if quick else name, study.title, facts, body(facts))


class _Bench:
    """The runs of a study, each kept once finished."""

    def __init__(self, study: Study) -> None:
        self.study, self.folder = study, WORK / "studies" / study.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run_directory = prepare.build_until(study.name, "tokenize")
        chosen, relatives = prepare.validation_of(self.run_directory, study.validation)
        texts = prepare.texts_of(self.run_directory, "train")
        self.validation = self._write_texts({name: texts[name] for name in chosen}, "validation")
        self.held_out = self._write_texts(prepare.texts_of(self.run_directory, "held_out"), "held-out")
        documents = prepare.documents_of(self.run_directory)
        rest = {name: ids for name, ids in documents.items() if name not in relatives}
        self.tuning, self.all = self._write_data(rest, "tuning"), self._write_data(documents, "all")
        self.start = prepare.base_directory() if study.worker == "trainer" else self._fresh()
        self.grid: list[Result] = []

    def tune(self) -> Result:
        """Run the grid on the training side without the validation documents; return the best of it."""
        for batch in self.study.batches:
            for rate in self.study.rates:
                result = self.theirs(self.study.tuning, rate, batch, self.tuning, self.validation)
                self.grid.append({key: value for key, value in result.items() if key != "items"})
        return min(self.grid, key=lambda row: float(row["bits_per_byte"]))

    def ours(self, seconds: int) -> Result:
        """Build the recipe on a time budget and score what it trained."""

        def make() -> Result:
            overrides = [f"runs={WORK / 'runs'}", f"train.budget={seconds}s"]
            recipe = str(HERE / "recipes" / f"{self.study.name}.toml")
            job = self._job("", self.held_out, more={"recipe": recipe, "overrides": overrides})
            result = run_worker(OURS, "build", job)
            scored = self._score(result.pop("model"), self.held_out)
            return {**result, **scored}

        return self._once("ours", {"seconds": seconds, "source": _source_digest()}, make)

    def theirs(self, seconds: int, rate: float, batch: int, data: Path, texts: Path) -> Result:
        """Train the peer on a time budget and score what it trained."""

        def make() -> Result:
            saved = self.folder / "saved"
            job = self._job(
                str(self.start),
                data,
                batch=batch,
                micro=min(batch, 4),
                learning_rate=rate,
                schedule=self.study.schedule,
                blocks=self.study.worker == "plain",
                shuffle=True,
                seed=_SEED,
                save=str(saved),
                seconds=float(seconds),
            )
            if self.study.worker == "trainer":
                # Its linear decay wants a number of steps: as many as fit, at the pace that it was seen to have.
                job = replace(job, steps=max(1, round(seconds / self._pace(batch, data))), seconds=0.0)
            result = run_worker(_PEER, self.study.worker, job)
            scored = self._score(str(saved), texts)
            shutil.rmtree(saved)
            steps = len(result.pop("step_seconds"))
            kept = ("training_seconds", "setup_seconds", "peak_rss_bytes", "versions")
            tokens = sum(result["step_tokens"])
            return {**{key: result[key] for key in kept}, "steps": steps, "tokens": tokens, **scored}

        facts = {
            "seconds": seconds,
            "rate": rate,
            "batch": batch,
            "data": data.name,
            "texts": sha256_file(texts),
        }
        return self._once("theirs", facts, make)

    def untrained(self) -> float:
        """Return the held-out bits per byte of the model that both begin with."""
        found = self._once(
            "start",
            {"texts": sha256_file(self.held_out)},
            lambda: self._score(str(self.start), self.held_out),
        )
        return float(found["bits_per_byte"])

    def _pace(self, batch: int, data: Path) -> float:
        """Return seconds a step: those of the runs so far with this batch, else of a probe of four steps."""
        runs = [read_json(path) for path in self.folder.glob("theirs-*.json")]
        paces = [
            row["training_seconds"] / row["steps"]
            for row in runs
            if row["batch"] == batch and row["steps"] > 3
        ]
        if paces:
            return float(sorted(paces)[len(paces) // 2])
        job = self._job(
            str(self.start), data, batch=batch, micro=min(batch, 4), steps=4, blocks=False, shuffle=True
        )
        times = run_worker(_PEER, self.study.worker, job)["step_seconds"]
        return float(sum(times[1:]) / len(times[1:]))

    def _score(self, model: str, texts: Path) -> Result:
        result: Result = run_worker(OURS, "score", self._job(model, texts))
        return result

    def _job(self, model: str, data: Path, **more: Any) -> Job:
        return Job(
            **{"out": "", "model": model, "data": str(data), "batch": 1, "micro": 1, "steps": 0, **more}
        )

    def _once(self, kind: str, facts: Result, make: Callable[[], Result]) -> Result:
        path = self.folder / f"{kind}-{sha256_json([asdict(self.study)['characters'], facts])[:16]}.json"
        if not path.exists():
            shown = ", ".join(
                f"{key} {value}" for key, value in facts.items() if key not in ("source", "texts")
            )
            print(f"{self.study.name}: {kind}, {shown}", flush=True)
            write_json(path, {**facts, **make()})
        found: Result = read_json(path)
        seconds = f" after {found['training_seconds']:.0f} s" if "training_seconds" in found else ""
        print(f"  {kind}: {found['bits_per_byte']:.4f} bits per byte{seconds}", flush=True)
        return found

    def _write_texts(self, texts: dict[str, str], name: str) -> Path:
        path = self.folder / f"{name}-{self.study.documents}-{self.study.characters}.json"
        chosen = choose_documents(
            texts, {}, documents=self.study.documents, characters=self.study.characters, seed=_SEED
        )
        path.write_text(json.dumps({document.doc_id: document.text for document in chosen}))
        return path

    def _write_data(self, documents: dict[str, list[int]], name: str) -> Path:
        """Write documents cut after 512 tokens, or for the plain loop all their text in blocks of 512."""
        path = self.folder / f"{name}-{self.study.validation}.json"
        rows = [documents[key] for key in sorted(documents)]
        if self.study.worker == "plain":
            rows = prepare.cut_blocks(rows)
        path.write_text(json.dumps([ids[: prepare.LENGTH] for ids in rows]))
        return path

    def _fresh(self) -> Path:
        """Return the very weights that Tinsmith begins with, saved."""
        path, recipe = self.folder / "start", load_recipe(HERE / "recipes" / f"{self.study.name}.toml")
        if not path.exists():
            tokenizer = load_tokenizer(self.run_directory / "tokenize" / "tokenizer")
            assert recipe.model.scratch
            partial = path.with_name("start.partial")
            create(recipe.model.scratch, tokenizer, seed=recipe.seed).save_pretrained(partial)
            save_tokenizer(tokenizer, partial)
            partial.rename(path)
        return path


def _source_digest() -> str:
    """Hash what decides how Tinsmith trains, so that a changed engine is measured again."""
    files = sorted((ROOT / "src" / "tinsmith").rglob("*.py"))
    rooms = ("train", "tokens", "model", "stages")
    return sha256_json(
        [sha256_file(file) for file in files if file.parent.name in rooms or file.name == "recipe.py"]
    )
