"""The parity gate: check that the exported files agree with the trained model.

It compares the saved model, and every GGUF file running in llama.cpp's server, over held-out text and chats:

- Token ids: of every prompt, with and without the chat template. Some prompts also go through /completion and
  /v1/chat/completions, which must count as many tokens.
- Typed markup: conversations in which people typed special tokens go through the service of `tinsmith serve`, which
  the terminal, the page and answers in words ask too. They must have the tokens that the trainer's encoder gives.
- Stop tokens: the file names them, and generation ends when the model is forced to emit one.
- Weights: sampled rows of every tensor, so that a misplaced tensor is named.
- Distributions: mean KL(trained || export) and top-1 agreement at every position of every prompt.

Distributions are computed from hidden states. llama.cpp's /completion returns one whole distribution per request, in
5 MB of JSON: a quarter of an hour for 2,000 positions. /embeddings without pooling returns the last hidden state of
every token, so only the product with the output matrix is missing. The gate reads that matrix from the same file.
To test llama.cpp's own product, it asks /completion for whole distributions after a few prompts: `answers` are compared
with the trained model, and `answers_apart` is their distance from our product for the same file (rounding only). Row
`server` has the figures of these answers for the smallest file, which `tinsmith serve` takes by default.
Loading the weights back into torch would be simpler, but would not test the program that runs the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from tinsmith.base.cores import usable_cores
from tinsmith.base.errors import ParityError
from tinsmith.base.progress import Advance, Progress
from tinsmith.model.load import load_model
from tinsmith.model.output_layer import OutputLayer
from tinsmith.parity.differences import (
    header_differences,
    saved_differences,
    server_differences,
    typed_differences,
)
from tinsmith.parity.findings import BEGIN_OF_TEXT, STOP_TOKENS, TOKENIZER, VOCABULARY_ORDER, Finding
from tinsmith.parity.opened import DirectoryModel, GgufModel, context_of
from tinsmith.parity.prompts import Prompt, draw_prompts
from tinsmith.parity.recompute import least_share, out_of_bounds, server_figures
from tinsmith.parity.sides import TorchSide
from tinsmith.parity.tensors import all_findings
from tinsmith.parity.trained import Trained
from tinsmith.recipe import PackageConfig
from tinsmith.serve.runtime import LlamaServer
from tinsmith.serve.served import service

_ANSWERS, _SERVED_ANSWERS = 8, 48
_ANSWERED_PROBABILITIES = 2_500_000  # a server writes each as JSON: 100 bytes, and 10 microseconds
_CHUNK = 256
_MAX_SHOWN = 3


@dataclass
class Export:
    """One exported format: last hidden states (N, hidden), output layer, whole answers by prompt, differences."""

    hidden: torch.Tensor
    output: OutputLayer
    differences: list[Finding]
    answers: dict[int, torch.Tensor] = field(default_factory=dict)


class Agreement(NamedTuple):
    """Agreement with the trained model at each position (N,): KL in nats, and 1 where the top token is the same."""

    kl: torch.Tensor
    top1: torch.Tensor


def check_parity(
    trained: Path,
    saved: Path,
    ggufs: dict[str, Path],
    texts: list[str],
    config: PackageConfig,
    progress: Progress,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare exports with the trained model (a directory in float32) and return the evidence.

    Returns {formats: {saved, each format, server: figures}, items: one row per format and prompt, notes: [sentences]}.
    Raises ParityError that names the format, the prompt and the difference.
    """

    def draw(tokenizer: PreTrainedTokenizerFast) -> list[Prompt]:
        count, positions = config.parity_prompts, config.parity_positions
        return draw_prompts(texts, tokenizer, count=count, positions=positions, seed=seed)

    return compare_exports(trained, saved, ggufs, draw, config, progress)


def compare_exports(
    trained: Path,
    saved: Path,
    ggufs: dict[str, Path],
    draw: Callable[[PreTrainedTokenizerFast], list[Prompt]],
    config: PackageConfig,
    progress: Progress,
) -> dict[str, Any]:
    """Compare exports with the trained model over the prompts that `draw` makes with its tokenizer."""
    served = min(ggufs, key=lambda name: ggufs[name].stat().st_size)
    opened = DirectoryModel(trained, "the trained model")
    prompts = draw(opened.tokenizer)
    with progress.task("parity", len(prompts) * (2 + len(ggufs)), "prompts") as advance:
        reference = Trained(opened, prompts, advance)
        side, copy = TorchSide(load_model(saved), prompts, advance), DirectoryModel(saved, "the saved model")
        found = [*all_findings(opened, copy), *saved_differences(copy, reference)]
        exports = {"saved": Export(side.hidden, side.output, found)}
        exports |= _run_ggufs(ggufs, served, reference, advance)
    with progress.task("distributions", len(reference.side.hidden), "positions") as advance:
        agreements = _compare(reference, exports, advance)
    sizes = {"saved": sum(file.stat().st_size for file in saved.glob("*.safetensors"))}
    sizes |= {name: path.stat().st_size for name, path in ggufs.items()}
    formats = {
        name: {**_figures(name, export, agreements[name], reference, config), "bytes": sizes[name]}
        for name, export in exports.items()
    }
    formats["server"] = server_figures(served, formats[served] | {"bound_top1": config.min_top1[served]})
    _check(formats, {name: export.differences for name, export in exports.items()})
    has_chats = bool(reference.tokenizer.chat_template)
    notes = [] if has_chats else ["The model has no chat template; chats were not checked."]
    return {"formats": formats, "items": _items(reference, agreements), "notes": notes}


def _run_ggufs(ggufs: dict[str, Path], served: str, trained: Trained, advance: Advance) -> dict[str, Export]:
    cores = usable_cores()
    # Several servers of one thread each beat one of all threads: llama.cpp's threads wait by spinning.
    workers = min(cores, len(ggufs))
    with ThreadPoolExecutor(workers) as pool:
        running = {
            name: pool.submit(
                _run_gguf,
                path,
                trained,
                advance,
                threads=cores // workers,
                answers=_whole_answers(trained) if name == served else _ANSWERS,
            )
            for name, path in ggufs.items()
        }
        return {name: future.result() for name, future in running.items()}


def _whole_answers(trained: Trained) -> int:
    """Return of how many prompts the served file gives whole distributions: fewer where the vocabulary is large."""
    affordable = _ANSWERED_PROBABILITIES // len(trained.side.output.weight)
    return max(_ANSWERS, min(_SERVED_ANSWERS, affordable))


def _run_gguf(path: Path, trained: Trained, advance: Advance, *, threads: int, answers: int) -> Export:
    context = min(4096, context_of(path))
    longest = max(len(prompt.ids) for prompt in trained.prompts)
    with (
        LlamaServer(path, threads=threads, slots=8, context=context, hidden_states=longest) as server,
        server.client() as client,
    ):
        file = GgufModel(path, "the file", client)
        differences = [*all_findings(trained.opened, file), *header_differences(trained.opened, file)]
        differences += server_differences(file.server, trained)
        with service(server) as served:
            differences += typed_differences(served, path, trained)
        export = Export(*file.hidden(trained.prompts, advance), differences)
        for number in _answered_prompts(trained, answers):
            prompt = trained.prompts[number]
            export.answers[number], read = file.server.answer(prompt, trained.forced)
            if read != len(prompt.ids):
                text = f"prompt {number}: /completion read {read} tokens, not {len(prompt.ids)}"
                differences.append(Finding(TOKENIZER, text))
    return export


def _answered_prompts(trained: Trained, count: int) -> Sequence[int]:
    # Only prompts that are plain text: the text of a chat already contains its special tokens.
    texts = [number for number, prompt in enumerate(trained.prompts) if prompt.kind == "text"]
    numbers = texts or list(range(len(trained.prompts)))
    return numbers[:: max(1, len(numbers) // count)][:count]


@torch.inference_mode()
def _compare(trained: Trained, exports: dict[str, Export], advance: Advance) -> dict[str, Agreement]:
    # In chunks of positions, since a distribution is as wide as the vocabulary.
    chunks: dict[str, list[Agreement]] = {name: [] for name in exports}
    for start in range(0, len(trained.side.hidden), _CHUNK):
        positions = slice(start, start + _CHUNK)
        expected = trained.side.output.logits(trained.side.hidden[positions]).log_softmax(-1)
        for name, export in exports.items():
            got = export.output.logits(export.hidden[positions]).log_softmax(-1)
            chunks[name].append(_agreement(expected, got))
        advance(len(expected))
    return {name: Agreement(*map(torch.cat, zip(*parts))) for name, parts in chunks.items()}


def _agreement(expected: torch.Tensor, got: torch.Tensor) -> Agreement:
    """Compare log-probabilities (..., vocabulary)."""
    kl = torch.nn.functional.kl_div(got, expected, reduction="none", log_target=True).sum(-1)
    return Agreement(kl, (expected.argmax(-1) == got.argmax(-1)).float())


@torch.inference_mode()
def _answer_figures(export: Export, trained: Trained) -> dict[str, float]:
    """Compare whole distributions from the server with the trained model's and with our own product."""
    with_trained, with_own = [], []
    for number, answer in export.answers.items():
        last = trained.spans[number].stop - 1
        # The server's rounded probabilities do not quite sum to one.
        got = answer.double().log_softmax(-1)
        expected, own = (
            side.output.logits(side.hidden[last]).double().log_softmax(-1) for side in (trained.side, export)
        )
        with_trained.append(_agreement(expected, got))
        with_own.append(_agreement(own, got))
    kl, top1 = (float(np.mean(list(map(float, values)))) for values in zip(*with_trained))
    apart = float(np.mean([float(agreement.kl) for agreement in with_own]))
    return {"answers_kl": kl, "answers_top1": top1, "answers_apart": apart}


def _figures(
    name: str, export: Export, agreement: Agreement, trained: Trained, config: PackageConfig
) -> dict[str, Any]:
    kinds = {difference.kind for difference in export.differences}
    least = config.min_top1[name]
    if trained.prompts[0].kind == "job":
        least = least_share(least, len(agreement.kl))  # a job has few places where it answers
    figures = {
        "mean_kl": float(agreement.kl.mean()),
        "top1": float(agreement.top1.mean()),
        "positions": len(agreement.kl),
        "prompts": len(trained.prompts),
        "token_ids_equal": not kinds & {TOKENIZER, VOCABULARY_ORDER, BEGIN_OF_TEXT},
        "stop_equal": STOP_TOKENS not in kinds,
        "bound_kl": config.max_kl[name],
        "bound_top1": least,
    }
    if export.answers:
        figures |= {"answers": len(export.answers), **_answer_figures(export, trained)}
    return figures


def _check(formats: dict[str, dict[str, Any]], differences: dict[str, list[Finding]]) -> None:
    """Raise ParityError that names all differences and all figures out of bounds."""
    failures = []
    for name, figures in formats.items():
        texts = [difference.text for difference in differences.get(name, [])]
        if len(texts) > _MAX_SHOWN:
            texts[_MAX_SHOWN:] = [f"and {len(texts) - _MAX_SHOWN} more differences"]
        failures += [f"{name}: {text}" for text in (*texts, *out_of_bounds(figures))]
    if failures:
        raise ParityError(
            "; ".join(failures),
            where="parity gate",
            next_step="remove the format from package.formats, or widen package.max_kl and package.min_top1",
        )


def _items(trained: Trained, agreements: dict[str, Agreement]) -> list[dict[str, Any]]:
    return [
        {
            "format": name,
            "prompt": number,
            "kind": prompt.kind,
            "positions": prompt.positions,
            "kl": float(agreement.kl[span].mean()),
            "top1": float(agreement.top1[span].mean()),
        }
        for name, agreement in agreements.items()
        for number, (prompt, span) in enumerate(zip(trained.prompts, trained.spans))
    ]
