"""Which of Tinsmith's own settings to take: trials judged on documents of the training side, never on held-out ones.

The documents that judge, and all that resemble them, are kept out of what the trials learn from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks import prepare
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import HERE, WORK
from benchmarks.peers import OURS
from benchmarks.processes import run_worker
from benchmarks.workers.job import Job
from tinsmith.base.files import read_json, sha256_json, write_json
from tinsmith.evaluate.families.bits import choose_documents

_DOCUMENTS, _CHARACTERS, _SEED = 20, 1500, 5


@dataclass(frozen=True)
class Trial:
    """A recipe with some fields set otherwise, learnt from the first `documents` (0: all) of the training side."""

    group: str
    recipe: str
    set: tuple[str, ...]
    documents: int = 0

    @property
    def shown(self) -> str:
        """Name the trial by what it sets."""
        return ", ".join(each.removeprefix("train.") for each in self.set)


def _trials() -> tuple[Trial, ...]:
    """Return all trials: groups differ in recipe and budget, and within one only the fields named differ."""
    cut, fewer = "train.streamline.vocabulary=16000", "train.streamline.layers=24"
    half, higher = "train.batch_tokens=512", "train.learning_rate=0.0006"
    lora = ("train.trainable=lora", "train.learning_rate=0.002")
    continued = ((), (cut,), (cut, half, higher), (cut, *lora), lora, (*lora, half))
    streamlined = ((cut, fewer), (cut, fewer, "train.objective=distil"))
    high = "train.learning_rate=0.02"
    fresh = ((), (high,), ("train.batch_tokens=1024",))
    tiny = ("model.scratch=llama@1m", "model.tokenizer=bpe@2k")
    small = ((2, 0.1), (8, 0.1), (8, 1.0), (16, 0.1), (16, 1.0))
    return (
        *(Trial("continued", "continued", ("train.budget=120s", *each)) for each in continued),
        *(Trial("streamlined", "continued", ("train.budget=120s", *each)) for each in streamlined),
        *(Trial("fresh", "fresh", ("train.budget=60s", *each)) for each in fresh),
        *(
            Trial(
                "small",
                "fresh",
                (*tiny, f"train.budget={epochs} epochs", f"train.weight_decay={decay}"),
                12,
            )
            for epochs, decay in small
        ),
    )


TRIALS = _trials()


def run(groups: tuple[str, ...] = ()) -> None:
    """Run the trials of some groups, or all; those that finished are kept. Write `results/settings`."""
    for trial in TRIALS:
        if not groups or trial.group in groups:
            row = _once(trial)
            print(f"settings: {trial.group}, {trial.shown}: {row['bits_per_byte']:.4f}", flush=True)
    found = [(trial, read_json(_path(trial))) for trial in TRIALS if _path(trial).exists()]
    facts = {"rows": [{"group": trial.group, "set": trial.set, **row} for trial, row in found]}
    title = "Settings of our own, judged on documents of the training side"
    write_evidence("settings", title, facts, _body(found))


def _once(trial: Trial) -> dict[str, Any]:
    path = _path(trial)
    if not path.exists():
        run_directory = prepare.build_until(trial.recipe, "split")
        chosen, relatives = prepare.validation_of(run_directory, _DOCUMENTS)
        texts = prepare.texts_of(run_directory, "train")
        picked = choose_documents(
            {name: texts[name] for name in chosen},
            {},
            documents=_DOCUMENTS,
            characters=_CHARACTERS,
            seed=_SEED,
        )
        judge = WORK / "settings-judge.json"
        write_json(judge, {document.doc_id: document.text for document in picked})
        more = {
            "recipe": str(HERE / "recipes" / f"{trial.recipe}.toml"),
            "overrides": [f"runs={WORK / 'trials'}", *trial.set],
            "without": sorted(relatives),
            "documents": trial.documents,
        }
        saved = str(WORK / "trial")
        job = Job(out="", model="", data="", batch=1, micro=1, steps=0, save=saved, more=more)
        result = run_worker(OURS, "trial", job)
        score = Job(out="", model=result.pop("model"), data=str(judge), batch=1, micro=1, steps=0)
        write_json(path, {**result, **run_worker(OURS, "score", score)})
    row: dict[str, Any] = read_json(path)
    return row


def _path(trial: Trial) -> Any:
    recipe = (HERE / "recipes" / f"{trial.recipe}.toml").read_text()
    return WORK / "trials" / f"trial-{sha256_json([recipe, trial.set, trial.documents])[:16]}.json"


def _body(found: list[tuple[Trial, dict[str, Any]]]) -> list[str]:
    lines = [
        f"One run each; bits per byte of the first {_CHARACTERS} characters of {_DOCUMENTS} documents of the training "
        "side, which with all that resemble them were kept out of what was learnt. Recipes: continued and fresh.",
        "",
    ]
    for group in dict.fromkeys(trial.group for trial, _ in found):
        rows = [
            [
                trial.shown,
                f"{row['training_seconds']:.0f}",
                row["steps"],
                f"{row['tokens']:,}",
                f"{row['tokens'] / row['epoch_tokens']:.2f}",
                f"{row['last_loss']:.2f}",
                f"{row['bits_per_byte']:.4f}",
            ]
            for trial, row in found
            if trial.group == group
        ]
        header = ["set", "seconds", "steps", "tokens", "epochs", "last loss", "bits per byte"]
        lines += [f"## {group}", "", *table(header, rows)]
    return lines
