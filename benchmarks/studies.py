"""What the two studies of time to quality run."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Study:
    """Budgets in seconds. A schedule that decays belongs to one budget, so every budget is a run of its own."""

    name: str  # also that of the recipe
    title: str
    peer: str
    worker: str
    schedule: str
    ours: tuple[int, ...]
    peers: tuple[int, ...]
    tuning: int  # seconds of each run of the grid
    rates: tuple[float, ...]
    batches: tuple[int, ...]  # sequences in a step
    documents: int = 50  # held out, scored
    characters: int = 1500
    validation: int = 20  # documents of the training side that choose rate and batch

    @property
    def minutes(self) -> float:
        """Estimate how long everything takes, scoring at a minute a model."""
        grid = len(self.rates) * len(self.batches)
        training = sum(self.ours) + sum(self.peers) + grid * self.tuning
        return training / 60 + 1.0 * (len(self.ours) + len(self.peers) + grid / 2) + 3

    def quick(self) -> Study:
        """Return the same in a minute or three, to see that everything works; its figures mean nothing."""
        return replace(
            self,
            ours=(8,),
            peers=(8, 16),
            tuning=8,
            rates=self.rates[:1],
            documents=2,
            characters=300,
            validation=2,
        )


QUALITY = Study(
    name="quality",
    title="Seconds to the same held-out bits per byte, SmolLM2-135M continued on licence agreements",
    peer="transformers Trainer",
    worker="trainer",
    schedule="linear",
    ours=(120,),
    peers=(240, 480),
    tuning=120,
    rates=(1e-4, 3e-4, 1e-3),
    batches=(8,),
)
SCRATCH = Study(
    name="scratch",
    title="Seconds to the same held-out bits per byte, 10 million fresh weights on licence agreements",
    peer="plain AdamW loop",
    worker="plain",
    schedule="cosine",
    ours=(120,),
    peers=(240, 480),
    tuning=90,
    rates=(1e-3, 3e-3),
    batches=(4, 16),
)
STUDIES = {study.name: study for study in (QUALITY, SCRATCH)}
