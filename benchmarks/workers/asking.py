"""Ask a classification about texts: `tinsmith run`, llama.cpp's server plainly, or a loop over transformers."""

from __future__ import annotations

import csv
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import torch

from benchmarks.workers.job import Job, peak_rss_bytes, read_job, write_json
from tinsmith.base.progress import SilentProgress
from tinsmith.jobs.asks import asks_of, prompt_of
from tinsmith.jobs.grammar import literal
from tinsmith.jobs.spec import read_job as read_spec
from tinsmith.model.load import load_model
from tinsmith.run_job import Options, run_job
from tinsmith.serve.runtime import LlamaServer, find_gguf
from tinsmith.tokens.tokenizer import load_tokenizer

Answered = tuple[float, list[str]]  # seconds, and the answers


class Asked:
    """The prompts of a job's directory, as token ids."""

    def __init__(self, directory: Path, texts: Sequence[str]) -> None:
        self.directory, self.texts, self.spec = directory, texts, read_spec(directory)
        self.tokenizer = load_tokenizer(directory / "model")

    def prompts(self) -> list[list[int]]:
        """Make all prompts."""
        rows = [{"input": text} for text in self.texts]
        asks = [asks_of(self.spec, row, self.tokenizer)[0] for row in rows]
        return [list(prompt_of(self.spec, self.tokenizer, ask).ids) for ask in asks]


def tinsmith_run(asked: Asked, job: Job) -> Answered:
    """Answer a CSV file with the whole command; the time of a file of one row, loading included, is taken off."""
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "in.csv"), Path(folder, "out.jsonl")

        def run(texts: Sequence[str]) -> float:
            with source.open("w", newline="") as file:
                csv.writer(file).writerows([["text"], *([text] for text in texts)])
            started = time.perf_counter()
            bundle = asked.directory.parents[1]
            run_job(bundle, source, output, Options(format=job.more["format"]), SilentProgress())
            return time.perf_counter() - started

        run(asked.texts[:1])
        seconds = -run(asked.texts[:1]) + run(asked.texts)
        name = asked.spec.config.name
        return seconds, [json.loads(line)[name] for line in output.open()]


def llama_plainly(asked: Asked, job: Job) -> Answered:
    """Ask llama.cpp's server as one would: a request each, an answer written under a grammar of the labels."""
    grammar = f'root ::= " " ({" | ".join(map(literal, asked.spec.labels))}) "\\n"'
    body = {"grammar": grammar, "n_predict": 16, "temperature": 0.0, "stop": ["\n"]}
    gguf = find_gguf(asked.directory, job.more["format"])
    with LlamaServer(gguf, threads=job.threads) as server, server.client() as client:

        def ask(prompt: list[int]) -> str:
            reply: httpx.Response = client.post("/completion", json={"prompt": prompt, **body})
            return str(reply.json()["content"]).strip()

        ask(asked.prompts()[0])
        started = time.perf_counter()
        answers = [ask(prompt) for prompt in asked.prompts()]
        return time.perf_counter() - started, answers


def transformers_loop(asked: Asked, job: Job) -> Answered:
    """Let transformers generate in float32, `batch` prompts at a time as they come."""
    model, tokenizer = load_model(asked.directory / "model"), asked.tokenizer
    pad, longest = tokenizer.eos_token_id, max(map(len, _label_ids(asked)))

    def generate(prompts: Sequence[list[int]]) -> list[str]:
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        made = model.generate(
            ids, attention_mask=mask, max_new_tokens=longest, do_sample=False, pad_token_id=pad
        )
        return [text.partition("\n")[0].strip() for text in tokenizer.batch_decode(made[:, width:])]

    with torch.inference_mode():
        generate(asked.prompts()[:1])
        started = time.perf_counter()
        prompts = asked.prompts()
        groups = [prompts[start : start + job.batch] for start in range(0, len(prompts), job.batch)]
        answers = [answer for group in groups for answer in generate(group)]
        return time.perf_counter() - started, answers


def _label_ids(asked: Asked) -> list[list[int]]:
    return [
        asked.tokenizer(f" {label}", add_special_tokens=False)["input_ids"] for label in asked.spec.labels
    ]


def main(job: Job) -> None:
    """Write the seconds, the answers and the number of prompt tokens for the texts in `data`, by the way in `more`."""
    torch.set_num_threads(job.threads)
    asked = Asked(Path(job.model), json.loads(Path(job.data).read_text()))
    way = {"run": tinsmith_run, "llama": llama_plainly, "transformers": transformers_loop}[job.more["way"]]
    seconds, answers = way(asked, job)
    facts = {"seconds": seconds, "answers": answers, "tokens": sum(map(len, asked.prompts()))}
    write_json(job, facts | {"peak_rss_bytes": peak_rss_bytes()})


if __name__ == "__main__":
    main(read_job())
