"""Train with TRL's SFTTrainer and packing, all weights or LoRA with peft."""

from __future__ import annotations

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from benchmarks.workers.hf import Watch, arguments, lora, open_model, open_tokenizer
from benchmarks.workers.job import Job, read_job, write_result

_PACKAGES = ("torch", "transformers", "accelerate", "peft", "trl", "datasets")


def main(job: Job) -> None:
    """Run a job."""
    watch = Watch()
    trainer = SFTTrainer(
        model=open_model(job),
        args=SFTConfig(
            **arguments(job),
            max_length=job.length,
            packing=True,
            # Full blocks stay as they are and in their order; documents are packed the way that TRL does by default.
            packing_strategy="wrapped" if job.blocks else "bfd",
        ),
        train_dataset=Dataset.from_dict({"input_ids": job.sequences}),
        processing_class=open_tokenizer(job),
        peft_config=lora() if job.trainable == "lora" else None,
        callbacks=[watch],
    )
    rows = [len(ids) for ids in trainer.train_dataset["input_ids"]]
    trainer.train()
    steps = [sum(rows[start : start + job.batch]) for start in range(0, len(rows), job.batch)]
    tokens = [steps[number % len(steps)] for number in range(len(watch.stamps.wall) - 1)]
    write_result(job, watch.stamps, losses=watch.losses, tokens=tokens, packages=_PACKAGES)


if __name__ == "__main__":
    main(read_job())
