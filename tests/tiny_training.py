"""A token set and a llama small enough to be trained in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from small_vocabulary import write_bpe
from tinsmith.base.progress import PlainProgress, SilentProgress
from tinsmith.recipe import ModelConfig, TrainConfig
from tinsmith.tokens.batches import Batch, Batches, make_batch
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.tokens.tokenizer import load_tokenizer, save_tokenizer
from tinsmith.train.distributed import ALONE, Ranks
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tinsmith.train.mixture import Mixture, MixtureComponent, make_mixture, open_sets
from tinsmith.train.objectives import Setup
from tinsmith.train.objectives.next_token import NextToken

VOCABULARY = 360


def tiny_llama(seed: int = 0) -> LlamaForCausalLM:
    """Make a llama of hidden size 64, two layers, grouped heads, tied embeddings."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return LlamaForCausalLM(config)


def document(seed: int, length: int) -> list[int]:
    """Return random token ids."""
    return np.random.default_rng(seed).integers(3, VOCABULARY, length).tolist()


def batch_of(*documents: list[int]) -> Batch:
    """Lay documents end to end, with every token but the first of each a target."""
    return make_batch([(np.array(ids, np.uint32), np.ones(len(ids), np.uint8)) for ids in documents])


def write_tokens(directory: Path, documents: int = 40, context: int = 64) -> TokenSet:
    """Write sequences that count upwards, so that they can be learnt; every third ends in an unsupervised part."""
    directory.mkdir(parents=True, exist_ok=True)
    writer, generator = ShardWriter(directory), np.random.default_rng(0)
    for number in range(documents):
        length = int(generator.integers(8, context + 1))
        ids = [(number * 7 + place) % (VOCABULARY - 3) + 3 for place in range(length)]
        marks = [1] * length if number % 3 else [1] * (length - 5) + [0] * 3 + [1] * 2
        writer.add(f"d{number}", number % 2, ids, marks)
    order = sorted(range(documents), key=lambda number: (number % 2, number))
    writer.close(order, {"context": context, "vocabulary": VOCABULARY})
    write_bpe(directory / "v.gguf")
    save_tokenizer(load_tokenizer(directory / "v.gguf"), directory / "tokenizer")
    return TokenSet(directory)


def write_pairs(directory: Path, count: int = 10, context: int = 48, empty: int = -1) -> TokenSet:
    """Write `count` pairs of answers to one prompt, the chosen first; the sequence `empty` has no target."""
    directory.mkdir(parents=True, exist_ok=True)
    writer, generator = ShardWriter(directory), np.random.default_rng(3)
    for pair in range(count):
        prompt = generator.integers(3, VOCABULARY, pair % 7).tolist()
        for side in range(2):
            answer = generator.integers(3, VOCABULARY, int(generator.integers(3, context - 6))).tolist()
            marks = [0] * len(prompt) + [int(2 * pair + side != empty)] * len(answer)
            writer.add(f"p{pair}", 0, prompt + answer, marks)
    writer.close(range(2 * count), {"context": context, "vocabulary": VOCABULARY, "group": 2})
    return TokenSet(directory)


def config(budget: str = "6 steps", **more: object) -> TrainConfig:
    """Return a training section that is deterministic and small."""
    facts = {"budget": budget, "batch_tokens": 256, "precision": "float32", "compile": "off", **more}
    return TrainConfig.model_validate({"learning_rate": 3e-3, **facts})


def make_batches(tokens: TokenSet, section: TrainConfig, seed: int = 7) -> Batches:
    """Return the batches that the stage would make."""
    return Batches(tokens, batch_tokens=section.batch_tokens, micro_rows=section.micro_rows, seed=seed)


def mixture_of(section: TrainConfig, tokenize: Path, progress: SilentProgress | None = None) -> Mixture:
    """Return the mixture that the stage would make of the token sets below `tokenize`."""
    model = ModelConfig(base=str(tokenize.parent / "base"))
    setup = Setup(section, model, tokenize, progress or SilentProgress())
    return make_mixture(setup, open_sets(section, tokenize), seed=7)


def make_engine(
    tokens: TokenSet,
    section: TrainConfig,
    model: PreTrainedModel | None = None,
    seed: int = 7,
    ranks: Ranks = ALONE,
) -> Engine:
    """Return an engine that learns the next token, as the stage would make it."""
    part = MixtureComponent("next_token", NextToken(), make_batches(tokens, section, seed))
    return Engine(model or tiny_llama(), section, Mixture([part]), seed=seed, ranks=ranks)


class Told(SilentProgress):
    """Keep what was said, and call a function at each advance."""

    def __init__(self, at_advance: Callable[[float], None] = lambda amount: None) -> None:
        self.lines: list[str] = []
        self.tasks: list[tuple[str, float | None, str]] = []
        self.at_advance = at_advance

    def say(self, message: str) -> None:
        self.lines.append(message)

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator[Callable[[float], None]]:
        self.tasks.append((what, total, unit))
        yield self.at_advance


def run(tokens: TokenSet, out: Path, section: TrainConfig, progress: Told | None = None) -> Engine:
    """Train as the loop does, into `out`; return the engine."""
    out.mkdir(exist_ok=True)
    engine = make_engine(tokens, section)
    fit(engine, out=out, progress=progress or Told())
    return engine


def weights_equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    """Say whether two models agree bit for bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def make_mixed_engine(one: TokenSet, other: TokenSet, section: TrainConfig, seed: int = 7) -> Engine:
    """Return an engine that learns the next token from two sets at once, three quarters of a step from the first."""
    parts = [
        MixtureComponent(
            name,
            NextToken(),
            Batches(tokens, batch_tokens=int(share * section.batch_tokens), micro_rows=1, seed=seed),
            share,
        )
        for name, tokens, share in (("one", one, 0.75), ("other", other, 0.25))
    ]
    return Engine(tiny_llama(), section, Mixture(parts), seed=seed)


def train_in_process(tokens: list[str], out: str, section: str) -> None:
    """Train as the stage does and leave `final.safetensors`; a process of its own may be killed at any instant."""
    torch.set_num_threads(1)
    target, wanted = Path(out), TrainConfig.model_validate_json(section)
    target.mkdir(exist_ok=True)
    make = make_engine if len(tokens) == 1 else make_mixed_engine
    engine = make(*(TokenSet(Path(each)) for each in tokens), wanted)
    with (target / "said.txt").open("a") as said:
        fit(engine, out=target, progress=PlainProgress(said))
    weights = {name: parameter.detach() for name, parameter in engine.model.named_parameters()}
    save_file(weights, target / "final.safetensors")
