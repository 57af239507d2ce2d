"""What each step of curation is worth: one fresh model, one compute, one held-out part, corpora that differ by a step.

The corpora are built by the pipeline that a person runs. Finished runs are kept under the work directory by what
they depend on, so an interrupted study goes on; runs made on another machine may be put there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks import prepare
from benchmarks.evidence import write_evidence
from benchmarks.paths import DATA, HERE, ROOT, WORK
from benchmarks.peers import OURS
from benchmarks.processes import THREADS, run_worker
from benchmarks.workers.job import Job
from benchmarks.worth_table import body
from tinsmith import load_recipe
from tinsmith.base.files import read_json, sha256_json, write_json
from tinsmith.base.progress import default_progress
from tinsmith.corpus.split import hash_texts, measure_overlap, membership, stream_hashes
from tinsmith.evaluate.families.bits import choose_documents
from tinsmith.model.families import create
from tinsmith.stages.tokenize import Settings
from tinsmith.stages.tokenize.run import tokenize
from tinsmith.tokens.tokenizer import save_tokenizer
from tinsmith.tokens.vocabulary import parse_size, train_vocabulary

_SEED = 5
_HOME = WORK / "worth"
_SOURCES = {
    "licences": (),
    "mixed": (
        "sec-filings/text",
        "cfpb-regs/regulation",
        "cfpb-regs/text",
        "cuad/CUAD_v1/full_contract_txt",
        "scotus-opinions/opinions",
    ),
}
_NO_RULES = ("curate.rules=[]",)
_SCORE = ("refine.score.kind=ready", "refine.score.keep=0.8")
_BOILERPLATE = ("refine.boilerplate.min_documents=3",)
# Each corpus by what is set beside the recipe. The rules are Gopher's, or its part that asks nothing of repetition:
# that arm was added when the first measurement had shown what all of them cost long documents.
ARMS = {
    "raw": (*_NO_RULES, "curate.near_duplicate_jaccard=1"),
    "deduplication": _NO_RULES,
    "rules and deduplication": ('curate.rules=["gopher"]',),
    "rules about words and deduplication": ('curate.rules=["gopher_quality"]',),
    "deduplication and score": (*_NO_RULES, *_SCORE),
    "deduplication, repeated paragraphs once": (*_NO_RULES, *_BOILERPLATE),
}
RAW, SPOKEN, CLEAN = "raw", "deduplication", "rules and deduplication"


@dataclass(frozen=True)
class Scale:
    """How big the model is and how long it learns; how much is judged."""

    shape: str
    vocabulary: str
    tokens: dict[str, int]
    share: dict[str, float]  # of the clusters, which are the same for all arms
    batch_tokens: int
    micro_rows: int
    seeds: int = 3
    documents: int = 120
    characters: int = 4000
    samples: int = 128
    sample_tokens: int = 256


SCALES = {
    "quick": Scale(
        "llama@1m",
        "bpe@2k",
        dict.fromkeys(_SOURCES, 20_000),
        dict.fromkeys(_SOURCES, 0.1),
        2048,
        4,
        1,
        4,
        500,
        4,
        32,
    ),
    "cpu": Scale(
        "llama@1m", "bpe@2k", dict.fromkeys(_SOURCES, 700_000), {"licences": 0.125, "mixed": 1.0}, 4096, 8
    ),
    "gpu": Scale(
        "llama@10m",
        "bpe@8k",
        {"licences": 8_000_000, "mixed": 20_000_000},
        dict.fromkeys(_SOURCES, 1.0),
        16_384,
        16,
    ),
}
Row = dict[str, Any]


def fitting_scale() -> str:
    """Return the scale for this machine: that of a GPU where there is one."""
    return "gpu" if torch.cuda.is_available() else "cpu"


def run(scale: str, *, train: bool = True) -> None:
    """Write `results/worth-SCALE`; without `train` only make what the runs need and say where they lie."""
    study = _Study(scale)
    jobs = [
        job for seed in range(SCALES[scale].seeds) for corpus in _SOURCES for job in study.jobs(corpus, seed)
    ]
    todo = [job for job in jobs if not Path(job.out).exists()]
    if not train:
        print(
            f"{len(todo)} runs to make: python -m benchmarks.workers.worth JOB with each of {_HOME}/jobs-{scale}"
        )
        return
    print(f"worth: {len(todo)} of {len(jobs)} runs to make, {THREADS} at a time", flush=True)
    with ThreadPoolExecutor(THREADS) as pool:
        for number, _ in enumerate(pool.map(_make, todo), 1):
            print(f"  {number} of {len(todo)} runs", flush=True)
    rows = [study.result(Path(job.out)) for job in jobs]
    facts = {"scale": asdict(SCALES[scale]), "arms": ARMS, "corpora": study.corpora, "rows": rows}
    name = "worth-quick" if scale == "quick" else f"worth-{scale}"
    write_evidence(name, "What each step of curation is worth", facts, body(facts))


def _make(job: Job) -> None:
    path = Path(job.out)
    write_json(path, run_worker(OURS, "worth", job, threads=1))


class _Study:
    """The corpora of both sources, and the runs on them."""

    def __init__(self, scale: str) -> None:
        self.name, self.scale = scale, SCALES[scale]
        self.corpora: dict[str, Any] = {}

    def jobs(self, corpus: str, seed: int) -> list[Job]:
        """Return the runs of a corpus with a seed; write them beside the corpora, by paths below the project."""
        if corpus not in self.corpora:
            self.corpora[corpus] = self._prepare(corpus)
        return [self._job(corpus, arm, seed) for arm in ARMS]

    def _job(self, corpus: str, arm: str, seed: int) -> Job:
        folder = _HOME / self.name / corpus
        facts = self.corpora[corpus]["arms"][arm]
        key = sha256_json([corpus, arm, seed, asdict(self.scale), facts["tokens_digest"]])[:16]
        job = Job(
            out=str(_relative(_HOME / "runs" / f"{key}.json")),
            model=str(_relative(folder / "base")),
            data=str(_relative(folder / "held_out.json")),
            batch=0,
            micro=0,
            steps=0,
            seed=seed,
            more={
                "corpus": corpus,
                "arm": arm,
                "recipe": str(_relative(_recipe(corpus))),
                "tokens": str(_relative(folder / _slug(arm) / "tokens")),
                "overrides": self._overrides(corpus, folder),
                "samples": self.scale.samples,
                "sample_tokens": self.scale.sample_tokens,
            },
        )
        write_json(_HOME / f"jobs-{self.name}" / f"{seed}-{corpus}-{_slug(arm)}.json", asdict(job))
        (_HOME / "runs").mkdir(exist_ok=True)
        return job

    def _overrides(self, corpus: str, folder: Path) -> list[str]:
        return [
            f"model.base={_relative(folder / 'base')}",
            f"model.scratch={self.scale.shape}",
            "model.tokenizer=base",
            f"train.budget={self.scale.tokens[corpus]} tokens",
            f"train.batch_tokens={self.scale.batch_tokens}",
            f"train.micro_rows={self.scale.micro_rows}",
            "train.compile=off",  # so many short runs, some beside each other
        ]

    def _prepare(self, corpus: str) -> Row:
        """Build the corpus of each arm, the tokenizer that they share and the held-out texts."""
        sources = [str(DATA / name) for name in _SOURCES[corpus]]
        given = [f"ingest.sources={json.dumps(sources)}"] if sources else []
        runs = {
            arm: prepare.build_until(
                f"worth-{corpus}", "refine", f"name=worth-{corpus}-{_slug(arm)}", *given, *set_
            )
            for arm, set_ in ARMS.items()
        }
        folder = _HOME / self.name / corpus
        folder.mkdir(parents=True, exist_ok=True)
        self._write_base(runs[SPOKEN], folder)
        held_out, clean = (prepare.texts_of(runs[arm], "held_out") for arm in (SPOKEN, CLEAN))
        chosen = choose_documents(
            held_out,
            _overlaps(runs[RAW]),
            documents=self.scale.documents,
            characters=self.scale.characters,
            seed=_SEED,
        )
        (folder / "held_out.json").write_text(json.dumps({each.doc_id: each.text for each in chosen}))
        return {
            "held_out": [
                {"doc_id": each.doc_id, "overlap": each.overlap, "clean": each.doc_id in clean}
                for each in chosen
            ],
            "arms": {arm: self._tokens(corpus, arm, run, folder) for arm, run in runs.items()},
        }

    def _write_base(self, run: Path, folder: Path) -> None:
        """Write a directory with the vocabulary that all arms speak."""
        if (folder / "base").exists():
            return
        texts = _training(run / "refine" / "documents.parquet")
        tokenizer = train_vocabulary(texts, parse_size(self.scale.vocabulary))
        partial = folder / "base.partial"
        create(self.scale.shape, tokenizer, seed=0).save_pretrained(partial)
        save_tokenizer(tokenizer, partial)
        partial.rename(folder / "base")

    def _tokens(self, corpus: str, arm: str, run: Path, folder: Path) -> Row:
        """Make an arm's token set; return how much text it holds."""
        place = folder / _slug(arm)
        documents = run / "refine" / "documents.parquet"
        copies = _copies(run) if arm == RAW else Counter()
        if not (place / "facts.json").exists():
            (place / "refine").mkdir(parents=True, exist_ok=True)
            share = self.scale.share[corpus]
            _write_sample(documents, copies, share, place / "refine" / "documents.parquet")
            (place / "tokens").mkdir(exist_ok=True)
            recipe = load_recipe(_recipe(corpus), tuple(self._overrides(corpus, folder)))
            statistics = tokenize(
                recipe.tokenize,
                settings=Settings(recipe.model, (), recipe.split.shared_run_words, "next_token", 0),
                inputs={"refine": place / "refine"},
                seed=recipe.seed,
                out=place / "tokens",
                progress=default_progress(),
            )
            kept = {name: statistics[name] for name in ("documents", "bytes", "tokens")}
            digest = sha256_json([read_json(run / "refine" / "manifest.json")["key"], sorted(copies.items())])
            write_json(place / "facts.json", {**kept, "tokens_digest": digest})
        facts: Row = read_json(place / "facts.json")
        return {**facts, "copies": copies.total()}

    def result(self, path: Path) -> Row:
        """Return a run's row, with the share of its samples that its own training text says word for word."""
        row: Row = read_json(path)
        if "memorised" not in row:
            place = _HOME / self.name / row["corpus"] / _slug(row["arm"]) / "refine" / "documents.parquet"
            overlaps = measure_overlap(hash_texts(row.pop("samples")), stream_hashes(_training(place)))
            row["memorised"] = sum(each.shared_words for each in overlaps) / sum(
                each.words for each in overlaps
            )
            write_json(path, row)
        return row


def _recipe(corpus: str) -> Path:
    return HERE / "recipes" / f"worth-{corpus}.toml"


def _relative(path: Path) -> Path:
    return path.relative_to(ROOT)


def _slug(arm: str) -> str:
    return arm.replace(",", "").replace(" ", "-")


def _training(documents: Path) -> Iterator[str]:
    """Yield the text of each training document."""
    with pq.ParquetFile(documents) as file:
        for batch in file.iter_batches(256, columns=["text", "part"]):
            for row in batch.to_pylist():
                if row["part"] == "train":
                    yield row["text"]


def _copies(run: Path) -> Counter[str]:
    """Count the exact copies that curate dropped, by doc_id: raw text has them."""
    rejects = pq.read_table(run / "curate" / "rejects.parquet", columns=["doc_id", "reason"])
    return Counter(row["doc_id"] for row in rejects.to_pylist() if row["reason"] == "exact_duplicate")


def _write_sample(documents: Path, copies: Counter[str], share: float, target: Path) -> None:
    """Write the documents of a share of the clusters, each as often as raw text has it."""
    table = pq.read_table(documents)
    inside = [membership(cluster, _SEED) < share for cluster in table["cluster"].to_pylist()]
    table = table.filter(pa.array(inside))
    times = [1 + copies[doc_id] for doc_id in table["doc_id"].to_pylist()]
    rows = [number for number, count in enumerate(times) for _ in range(count)]
    table = table.take(pa.array(rows))
    seen: Counter[str] = Counter()
    names = []
    for doc_id in table["doc_id"].to_pylist():
        names.append(f"{doc_id}-{seen[doc_id]}" if seen[doc_id] else doc_id)
        seen[doc_id] += 1
    place = table.schema.get_field_index("doc_id")
    pq.write_table(table.set_column(place, "doc_id", pa.array(names, pa.string())), target)


def _overlaps(run: Path) -> dict[str, float]:
    rows = pq.read_table(run / "split" / "overlap.parquet", columns=["doc_id", "overlap"]).to_pylist()
    return {row["doc_id"]: row["overlap"] for row in rows}
