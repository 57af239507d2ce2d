"""The parity gate: what is handed over must be what was trained.

Checked over held-out text and chats, for the saved model and for every GGUF file in llama.cpp's running
server:

- token ids: each prompt through /tokenize, each chat through /apply-template as well, against the tokenizer
  that training used; some through /completion and /v1/chat/completions, whose count of tokens read must
  agree;
- stop tokens: the file names the trained model's, and generation ends where the model is made to say one;
- distributions: mean KL(trained || other) and top-1 agreement at every position of every prompt.

llama.cpp's server gives a whole distribution for one position a request, in 5 MB of JSON: half a second,
and a quarter of an hour for 2,000 positions. But /embeddings without pooling gives the last hidden state of
every token of a prompt, which is all that llama.cpp computes except the product with the output matrix. So
all positions go that way, with the output matrix read from the same file by gguf; and that product is put
under test by whole distributions out of /completion after some prompts (`answers`; `answers_apart` is how far
they lie from hidden state times matrix of the same file, nothing but rounding between them; the row
`server` is the file that is served unless another is asked for). Reading weights back into torch instead would test the
file, but not what runs it.

Beside that, rows of every tensor are compared with the trained ones, which names a tensor that is out of
place.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binom
from transformers import AutoConfig, PreTrainedTokenizerFast

from tinsmith.base.errors import ParityError
from tinsmith.base.progress import Advance, Progress
from tinsmith.gguf.families import architecture_metadata, context_length
from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.metadata import read_stop_tokens
from tinsmith.model.load import load_model
from tinsmith.parity.prompts import Prompt, draw_prompts
from tinsmith.parity.sides import GgufSide, Head, ServerSide, TorchSide, trained_rows
from tinsmith.recipe import PackageConfig
from tinsmith.serve.runtime import LlamaServer, usable_cores
from tinsmith.tokens.encoding import prefix_ids
from tinsmith.tokens.tokenizer import load_tokenizer

_ANSWERS, _SERVED_ANSWERS, _CHATS_READ = 8, 24, 4
_CHUNK = 256
_SHOWN = 3
# Mean KL in nats between two ways to one distribution of one file: up to 0.006 with 4 bits, where llama.cpp rounds what
# it multiplies too; a wrong matrix, bias or scale gives more than this.
_MAX_APART = 0.1
# How rarely a file that is just within its bound may fail by which few prompts were asked.
_UNLUCKY = 1e-4


class _Trained:
    """What everything is compared with."""

    def __init__(
        self, path: Path, texts: list[str], config: PackageConfig, seed: int, advance: Advance
    ) -> None:
        self.path = path
        self.config = AutoConfig.from_pretrained(path, local_files_only=True)
        self.tokenizer: PreTrainedTokenizerFast = load_tokenizer(path)
        self.stops = read_stop_tokens(path)
        self.prompts = draw_prompts(
            texts, self.tokenizer, count=config.parity_prompts, positions=config.parity_positions, seed=seed
        )
        self.side = TorchSide(load_model(path), self.prompts, advance)
        self.rows = trained_rows(path)
        self.adds_bos = prefix_ids(self.tokenizer) != []
        lengths = [len(prompt.ids) for prompt in self.prompts]
        self.ends = np.cumsum(lengths)
        # A token of plain letters: what the server is made to sample where only the distribution is wanted.
        self.forced = int(self.tokenizer("a", add_special_tokens=False)["input_ids"][0])


class _Other:
    """What was found of one format: differences in words, and distributions by position."""

    def __init__(self, hidden: torch.Tensor, head: Head, problems: list[str]) -> None:
        self.hidden, self.head, self.problems = hidden, head, problems
        self.answers: dict[int, torch.Tensor] = {}
        self.kl = self.same = torch.empty(0)


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

    Returns {formats: {saved, each format, server: figures}, items: one row per format and prompt, notes:
    [words]}. Raises ParityError that names format, prompt and difference where anything is out of bounds.
    """
    total = config.parity_prompts * (2 + len(ggufs))
    with progress.task("parity", total, "prompts") as advance:
        ours = _Trained(trained, texts, config, seed, advance)
        others = {"saved": _read_saved(saved, ours, advance)}
        served = min(ggufs, key=lambda name: ggufs[name].stat().st_size)
        cores = usable_cores()
        # One thread each beats all threads for one after another: llama.cpp's threads wait by spinning.
        workers = min(cores, len(ggufs))
        with ThreadPoolExecutor(workers) as pool:
            asked = {
                name: pool.submit(
                    _read_gguf,
                    path,
                    ours,
                    advance,
                    threads=cores // workers,
                    answers=_SERVED_ANSWERS if name == served else _ANSWERS,
                )
                for name, path in ggufs.items()
            }
            others |= {name: future.result() for name, future in asked.items()}
    with progress.task("distributions", len(ours.side.hidden), "positions") as advance:
        _compare(ours, others, advance)
    rows = {name: _row(name, other, ours, config) for name, other in others.items()}
    sizes = {"saved": sum(file.stat().st_size for file in saved.glob("*.safetensors"))}
    sizes |= {name: path.stat().st_size for name, path in ggufs.items()}
    rows = {name: {**row, "bytes": sizes[name]} for name, row in rows.items()}
    rows["server"] = _server_row(served, rows[served])
    _judge(rows, {name: other.problems for name, other in others.items()})
    notes = (
        [] if ours.tokenizer.chat_template else ["The model has no chat template; chats were not checked."]
    )
    return {"formats": rows, "items": _items(ours, others), "notes": notes}


def _read_saved(path: Path, ours: _Trained, advance: Advance) -> _Other:
    tokenizer = load_tokenizer(path)
    problems = []
    for number, prompt in enumerate(ours.prompts):
        if prompt.messages:
            messages = list(prompt.messages)
            text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
            problems += _text_difference(number, prompt.text, text)
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = tokenizer(prompt.text)["input_ids"]
        problems += _id_difference(number, prompt, ids)
    stops = read_stop_tokens(path)
    if stops != ours.stops:
        problems.append(f"stop tokens are {stops}, those of the trained model {ours.stops}")
    side = TorchSide(load_model(path), ours.prompts, advance)
    return _Other(side.hidden, side.head, problems)


def _read_gguf(path: Path, ours: _Trained, advance: Advance, *, threads: int, answers: int) -> _Other:
    file = GgufSide(path)
    problems = [*_metadata_differences(read_metadata(path), ours), *file.differences(ours.rows)]
    context = min(4096, context_length(ours.config))
    with (
        LlamaServer(path, threads=threads, slots=8, context=context, hidden_states=True) as server,
        server.client() as client,
    ):
        side = ServerSide(client, len(ours.side.head.weight))
        problems += _token_differences(side, ours)
        problems += _stop_differences(side, ours)
        other = _Other(side.hidden(ours.prompts, advance), file.head(), problems)
        # Only prompts whose text is what was tokenized: a chat's text has its special tokens in it already.
        asked = [i for i, prompt in enumerate(ours.prompts) if prompt.kind == "text"] or range(
            len(ours.prompts)
        )
        step = max(1, len(asked) // answers)
        for number in list(asked)[::step][:answers]:
            prompt = ours.prompts[number]
            other.answers[number], read = side.answer(prompt, ours.forced)
            if read != len(prompt.ids):
                problems.append(f"prompt {number}: /completion read {read} tokens, not {len(prompt.ids)}")
    return other


def _metadata_differences(facts: dict[str, Any], ours: _Trained) -> list[str]:
    tokenizer = ours.tokenizer
    architecture = architecture_metadata(ours.config)
    expected = {
        "general.architecture": next(iter(architecture)).split(".")[0],
        **{key: float(np.float32(v)) if isinstance(v, float) else v for key, v in architecture.items()},
        "tokenizer.ggml.add_bos_token": ours.adds_bos,
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": ours.stops[0],
        "tokenizer.ggml.eot_token_id": ours.stops[1] if len(ours.stops) > 1 else None,
    }
    found = [
        f"{_NAMES.get(key.partition('.')[2], key)} ({key}) is {facts.get(key)}, in the trained model {value}"
        for key, value in expected.items()
        if facts.get(key) != value
    ]
    template, trained = facts.get("tokenizer.chat_template"), tokenizer.chat_template
    if template != trained:
        found.append(f"the chat template differs: {_first_difference(str(trained), str(template))}")
    return found


_NAMES = {
    "rope.freq_base": "the RoPE base",
    "ggml.add_bos_token": "whether a BOS is put before a text",
    "ggml.bos_token_id": "the BOS token",
    "ggml.eos_token_id": "the stop token",
    "ggml.eot_token_id": "the second stop token",
}


def _token_differences(side: ServerSide, ours: _Trained) -> list[str]:
    found: list[str] = []
    chats_read = 0
    for number, prompt in enumerate(ours.prompts):
        if prompt.messages:
            text = side.render(prompt.messages)
            # Where a BOS is put before every text, llama.cpp takes it out of the template, to have it once.
            bos = str(ours.tokenizer.bos_token) if ours.adds_bos else ""
            found += _text_difference(number, prompt.text.removeprefix(bos), text.removeprefix(bos))
            found += _id_difference(number, prompt, side.token_ids(text))
            if chats_read < _CHATS_READ:
                chats_read += 1
                read = side.chat_tokens(prompt.messages)
                if read != len(prompt.ids):
                    found.append(
                        f"prompt {number} (chat): a chat completion read {read} tokens, not {len(prompt.ids)}"
                    )
        else:
            found += _id_difference(number, prompt, side.token_ids(prompt.text))
            if prompt.kind == "trap":
                plain = ours.tokenizer(prompt.text, split_special_tokens=True)["input_ids"]
                asked = Prompt("trap without markup", prompt.text, tuple(plain))
                found += _id_difference(number, asked, side.token_ids(prompt.text, markup=False))
    return found


def _stop_differences(side: ServerSide, ours: _Trained) -> list[str]:
    ids = ours.prompts[-1].ids
    return [
        f"generation does not stop on the stop token {token} ({ours.tokenizer.decode([token])})"
        for token in ours.stops
        if not side.stops_on(token, ids)
    ]


def _id_difference(number: int, prompt: Prompt, got: Sequence[int]) -> list[str]:
    if tuple(got) == prompt.ids:
        return []
    at = next((i for i, (a, b) in enumerate(zip(prompt.ids, got)) if a != b), min(len(prompt.ids), len(got)))
    expected = list(prompt.ids[at : at + 6])
    return [
        f"token ids of prompt {number} ({prompt.kind} {prompt.text[:40]!r}) differ from token {at} on: "
        f"expected {expected}, got {list(got[at : at + 6])}"
    ]


def _text_difference(number: int, expected: str, got: str) -> list[str]:
    if expected == got:
        return []
    return [f"the chat template makes another text of prompt {number}: {_first_difference(expected, got)}"]


def _first_difference(expected: str, got: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(expected, got)) if a != b), min(len(expected), len(got)))
    return f"at character {at} expected {expected[at : at + 40]!r}, got {got[at : at + 40]!r}"


@torch.inference_mode()
def _compare(ours: _Trained, others: dict[str, _Other], advance: Advance) -> None:
    """Fill in KL (nats) and equality of the likeliest token at each position, a chunk at a time."""
    kl: dict[str, list[torch.Tensor]] = {name: [] for name in others}
    same: dict[str, list[torch.Tensor]] = {name: [] for name in others}
    for start in range(0, len(ours.side.hidden), _CHUNK):
        place = slice(start, start + _CHUNK)
        logs = ours.side.head.log_probabilities(ours.side.hidden[place])
        for name, other in others.items():
            theirs = other.head.log_probabilities(other.hidden[place])
            kl[name].append(_divergence(logs, theirs))
            same[name].append((logs.argmax(-1) == theirs.argmax(-1)).float())
        advance(len(logs))
    for name, other in others.items():
        other.kl, other.same = torch.cat(kl[name]), torch.cat(same[name])


def _divergence(logs: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return KL(ours || theirs) over the last dimension, in nats."""
    return torch.nn.functional.kl_div(theirs, logs, reduction="none", log_target=True).sum(-1)


@torch.inference_mode()
def _answer_figures(other: _Other, ours: _Trained) -> dict[str, float]:
    kl, same, apart = [], [], []
    for number, answer in other.answers.items():
        place = ours.ends[number] - 1
        # What the server rounds for its JSON does not quite sum to one.
        theirs = answer.double().log_softmax(-1)
        logs, own = (
            side.head.logits(side.hidden[place]).double().log_softmax(-1) for side in (ours.side, other)
        )
        kl.append(float(_divergence(logs, theirs)))
        same.append(float(logs.argmax() == theirs.argmax()))
        apart.append(float(_divergence(own, theirs)))
    means = map(float, map(np.mean, (kl, same, apart)))
    return dict(zip(("answers_kl", "answers_top1", "answers_apart"), means, strict=True))


def _row(name: str, other: _Other, ours: _Trained, config: PackageConfig) -> dict[str, Any]:
    row = {
        "mean_kl": float(other.kl.mean()),
        "top1": float(other.same.mean()),
        "positions": len(other.kl),
        "prompts": len(ours.prompts),
        "token_ids_equal": not any("token ids" in problem for problem in other.problems),
        "stop_equal": not any("stop token" in problem for problem in other.problems),
        "bound_kl": config.max_kl[name],
        "bound_top1": config.min_top1[name],
    }
    if other.answers:
        row |= {"answers": len(other.answers), **_answer_figures(other, ours)}
    return row


def _server_row(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row of whole distributions as the server sends them, for the format served by default."""
    count = row["answers"]
    # A share of so few positions is mostly luck: two dozen prompts with near ties once stopped a good file.
    least = max(0.0, float(binom.ppf(_UNLUCKY, count, row["bound_top1"]))) / count
    return {
        **{key: row[key] for key in ("token_ids_equal", "stop_equal", "bound_kl", "bytes")},
        "format": name,
        "mean_kl": row["answers_kl"],
        "top1": row["answers_top1"],
        "positions": count,
        "prompts": count,
        "bound_top1": least,
    }


def _judge(rows: dict[str, dict[str, Any]], problems: dict[str, list[str]]) -> None:
    found = []
    for name, row in rows.items():
        words = problems.get(name, [])
        found += [f"{name}: {problem}" for problem in words[:_SHOWN]]
        if len(words) > _SHOWN:
            found.append(f"{name}: and {len(words) - _SHOWN} more differences")
        # Written so that NaN fails.
        if not row["mean_kl"] <= row["bound_kl"]:
            found.append(f"{name}: mean KL {row['mean_kl']:.4f} nats is above its bound {row['bound_kl']}")
        if not row["top1"] >= row["bound_top1"]:
            found.append(
                f"{name}: top-1 agreement {row['top1']:.3f} is below its bound {row['bound_top1']:.3f}"
            )
        if not row.get("answers_apart", 0.0) <= _MAX_APART:
            found.append(
                f"{name}: the server's distributions are not those of its hidden states and the file's output "
                f"matrix (mean KL {row['answers_apart']:.4f} nats, at most {_MAX_APART})"
            )
        if not row.get("answers_kl", 0.0) <= row["bound_kl"]:
            found.append(
                f"{name}: mean KL of whole answers {row['answers_kl']:.4f} nats is above {row['bound_kl']}"
            )
    if found:
        raise ParityError(
            "; ".join(found),
            where="parity gate",
            next_step="leave the format out of package.formats, or widen package.max_kl and package.min_top1",
        )


def _items(ours: _Trained, others: dict[str, _Other]) -> list[dict[str, Any]]:
    rows = []
    for name, other in others.items():
        for number, prompt in enumerate(ours.prompts):
            place = slice(int(ours.ends[number]) - len(prompt.ids), int(ours.ends[number]))
            row = {
                "format": name,
                "prompt": number,
                "kind": prompt.kind,
                "positions": len(prompt.ids),
                "kl": float(other.kl[place].mean()),
                "top1": float(other.same[place].mean()),
            }
            rows.append(row)
    return rows
