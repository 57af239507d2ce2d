"""Refuse a model that cannot be scored, before any is: damaged files, a small context, a foreign vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, PreTrainedTokenizerFast

from tinsmith.base.assets import KNOWN, is_hub_id, resolve_model
from tinsmith.base.errors import AssetError
from tinsmith.base.files import read_json
from tinsmith.evaluate.families.bits import TextScore
from tinsmith.evaluate.families.multiple_choice import ItemScore, shots_prefix
from tinsmith.evaluate.models import EvalModel, open_tokenizer
from tinsmith.evaluate.names import rival_name
from tinsmith.evaluate.run import Work
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.evidence.items import Item, ItemKind
from tinsmith.gguf.header import read_metadata, require_whole
from tinsmith.recipe import EvaluateConfig

_NO_LIMIT = 2**31
_UNLIMITED = ("bloom",)  # has relative positions, whatever its file calls its context


def check_rivals(config: EvaluateConfig) -> None:
    """Check the rivals that are on this machine, without reading weights. Raises AssetError."""
    for rival in config.rivals:
        path = Path(rival).expanduser()
        if _is_elsewhere(rival):
            continue  # for fetch_rivals
        if not any(path.glob("*.safetensors")) and path.suffix != ".gguf":
            resolve_model(rival, allow_hub=False)  # raises an error that says what it is instead
        model = EvalModel(rival_name(rival), rival, path, "")
        check_files(model)
        open_tokenizer(model)


def fetch_rivals(config: EvaluateConfig) -> None:
    """Fetch and check the rivals that are named models or hub ids. Raises AssetError where one cannot be fetched.

    This happens before a document is read: better to report a missing network before training than after.
    """
    for rival in filter(_is_elsewhere, config.rivals):
        model = EvalModel(rival_name(rival), rival, resolve_model(rival).path, "")
        check_files(model)
        open_tokenizer(model)


def _is_elsewhere(rival: str) -> bool:
    return rival in KNOWN or (is_hub_id(rival) and not Path(rival).expanduser().exists())


def check_files(model: EvalModel) -> None:
    """Raise AssetError unless a model's files are whole, by their headers, and those of a causal language model."""
    path = model.path
    if not path.is_dir():
        require_whole(path)
        return
    index = path / "model.safetensors.index.json"
    named = set(read_json(index)["weight_map"].values()) if index.is_file() else set()
    for name in sorted(named | {file.name for file in path.glob("*.safetensors")}):
        try:
            with safe_open(path / name, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise AssetError(
                f"is missing or damaged ({error})", where=str(path / name), next_step="fetch it again"
            ) from error
    try:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise AssetError(
            f"cannot be read ({str(error).splitlines()[0]})",
            where=str(path / "config.json"),
            next_step="name a complete model directory of a family that transformers knows",
        ) from error
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise AssetError(
            f"is a {config.model_type} model, which does not predict text",
            where=str(path),
            next_step="name a causal language model",
        )


def check_room(model: EvalModel, tokenizer: PreTrainedTokenizerFast, work: Work) -> None:
    """Raise AssetError where a text or question has more tokens than a model reads, or an unknown one."""
    limits = _limits(model.path)
    for document in work.texts:
        for tree in TextScore(document, tokenizer, work.window).trees:
            mend = f"set evaluate.window to {limits.positions} or less"
            _fits(model, limits, f"document {document.doc_id}", mend, tree, 0)
    for (task, count), shots in work.shots.items():
        before = len(shots_prefix(tokenizer, shots)) if count else 0
        for item in work.questions[task]:
            tree = ItemScore(item, tokenizer, short=count > 0).tree
            what = f"item {item.item}" + (f" after {count} examples" if count else "")
            _fits(model, limits, what, _mend(item, count), tree, before)


def _fits(model: EvalModel, limits: _Limits, what: str, mend: str, tree: Tree, before: int) -> None:
    positions, vocabulary = limits
    trunk, _ = tree.trunk()
    length = before + max(trunk.depths) + 1
    if length > positions:
        raise AssetError(
            f"reads at most {positions} tokens, but {what} takes {length}",
            where=model.name,
            next_step=f"{mend}, or leave this model out of evaluate.rivals",
        )
    if max(tree.tokens) >= vocabulary:
        raise AssetError(
            f"its tokenizer makes token {max(tree.tokens)} of {what}, it has weights for {vocabulary}",
            where=model.name,
            next_step="take tokenizer and weights of one model",
        )


def _mend(item: Item, count: int) -> str:
    if count:
        return "lower evaluate.shots"
    return {
        ItemKind.OWN: "shorten the question or its passage",
        ItemKind.TASK: f"lower characters of the task {item.task}",
    }.get(item.kind, "lower evaluate.characters")


class _Limits(NamedTuple):
    positions: int  # tokens that a model reads at once
    vocabulary: int


def _limits(path: Path) -> _Limits:
    """Read a model's limits from its settings or its GGUF header."""
    if path.is_dir():
        config = AutoConfig.from_pretrained(path, local_files_only=True).get_text_config()
        positions = int(getattr(config, "max_position_embeddings", None) or _NO_LIMIT)
        return _Limits(positions, int(config.vocab_size))
    facts = read_metadata(path)
    family = facts.get("general.architecture")
    length = _NO_LIMIT if family in _UNLIMITED else facts.get(f"{family}.context_length")
    return _Limits(int(length or _NO_LIMIT), len(facts.get("tokenizer.ggml.tokens", ())) or _NO_LIMIT)
