"""What the workers of transformers Trainer and TRL share."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, TrainerCallback

from benchmarks.workers.job import Job, Stamps

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Watch(TrainerCallback):
    """Mark the start of training and the end of each step; keep the losses that the trainer logs."""

    def __init__(self) -> None:
        self.stamps, self.losses = Stamps(), list[float]()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Mark the start."""
        self.stamps.mark()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Mark the end of a step."""
        self.stamps.mark()

    def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
        """Keep a step's loss."""
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))


def open_model(job: Job) -> PreTrainedModel:
    """Open the model in float32; attention is the library's default (SDPA)."""
    torch.set_num_threads(job.threads)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        job.model, dtype=torch.float32, attn_implementation=job.more.get("attention", "sdpa")
    )
    model.config.use_cache = False
    return model


def open_tokenizer(job: Job) -> Any:
    """Open the tokenizer, whose padding token the collators need."""
    return AutoTokenizer.from_pretrained(job.model)


def lora() -> LoraConfig:
    """Return rank 16, alpha 32 on all linear layers of the blocks."""
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=LINEAR, task_type="CAUSAL_LM")


def arguments(job: Job) -> dict[str, Any]:
    """Return the training arguments: the library's defaults, save where equal work or silence asks for more."""
    assert job.batch % job.micro == 0
    # The first step of a warm-up has a learning rate of 0 here, which a short run had better not spend.
    fixed = {"adam_beta2": 0.95} if job.schedule == "constant" else {"warmup_steps": job.steps // 20}
    return {
        "output_dir": f"{job.out}.trainer",
        "per_device_train_batch_size": job.micro,
        "gradient_accumulation_steps": job.batch // job.micro,
        "max_steps": job.warmup + job.steps,
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": job.schedule,
        "train_sampling_strategy": "random" if job.shuffle else "sequential",
        "bf16": job.precision == "bfloat16",
        "torch_compile": job.compiled,
        "use_liger_kernel": job.more.get("liger", False),
        "gradient_checkpointing": False,  # slower; TRL would turn it on
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "save_strategy": "no",
        "seed": job.seed,
        **fixed,
    }
