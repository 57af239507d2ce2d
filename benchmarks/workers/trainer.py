"""Train with the Trainer of transformers, eager or compiled, all weights or LoRA with peft."""

from __future__ import annotations

import itertools
from pathlib import Path

import peft
from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments, default_data_collator

from benchmarks.workers.hf import Watch, arguments, lora, open_model, open_tokenizer
from benchmarks.workers.job import Job, read_job, write_result

_PACKAGES = ("torch", "transformers", "accelerate", "peft")


def main(job: Job) -> None:
    """Run a job."""
    model, tokenizer, watch = open_model(job), open_tokenizer(job), Watch()
    if job.trainable == "lora":
        model = peft.get_peft_model(model, lora())
    rows = [{"input_ids": ids, "labels": ids, "attention_mask": [1] * len(ids)} for ids in job.sequences]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**arguments(job)),
        train_dataset=rows,
        # Documents are padded to the longest of their batch; padding has no target.
        data_collator=default_data_collator if job.blocks else DataCollatorForSeq2Seq(tokenizer),
        callbacks=[watch],
    )
    trainer.train()
    lengths = [len(row["input_ids"]) for row in rows]
    if job.save:
        model.save_pretrained(job.save)
        tokenizer.save_pretrained(job.save)
    write_result(
        job,
        watch.stamps,
        losses=watch.losses,
        tokens=_step_tokens(job, lengths, len(watch.stamps.wall) - 1),
        packages=_PACKAGES,
        saved=str(Path(job.save).resolve()) if job.save else "",
    )


def _step_tokens(job: Job, lengths: list[int], steps: int) -> list[int]:
    """Count each step's real tokens; with shuffled documents their mean serves."""
    if job.shuffle:
        return [round(job.batch * sum(lengths) / len(lengths))] * steps
    order = itertools.cycle(lengths)
    return [sum(itertools.islice(order, job.batch)) for _ in range(steps)]


if __name__ == "__main__":
    main(read_job())
