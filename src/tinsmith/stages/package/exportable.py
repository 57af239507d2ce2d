"""Refuse a base whose trained model could not be exported, before a document or a weight is read."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from tinsmith.base.assets import is_hub_id, resolve_model
from tinsmith.base.errors import AssetError
from tinsmith.gguf.families import require_architecture
from tinsmith.gguf.header import read_metadata, require_whole
from tinsmith.gguf.metadata import read_stop_tokens, require_room_for
from tinsmith.gguf.types import choose_types
from tinsmith.gguf.writer import CheckpointTensors
from tinsmith.recipe import Recipe
from tinsmith.tokens.tokenizer import load_base_tokenizer


def check_base(recipe: Recipe) -> None:
    """Check a base that is on this machine. Raises AssetError."""
    base = recipe.model.base
    path = Path(base).expanduser()
    if path.exists():
        resolve_model(base, allow_hub=False)
        require_exportable(path, recipe.package.formats, tokenizer=_reads_tokenizer(recipe))


def fetch_base(recipe: Recipe) -> None:
    """Fetch and check a base that is a hub id. Raises AssetError."""
    base = recipe.model.base
    if is_hub_id(base) and not Path(base).expanduser().exists():
        path = resolve_model(base).path
        require_exportable(path, recipe.package.formats, tokenizer=_reads_tokenizer(recipe))


def _reads_tokenizer(recipe: Recipe) -> bool:
    """Say whether the base's own tokenizer is read: documents may have a vocabulary of their own."""
    documents = bool(recipe.ingest.sources) and recipe.model.tokenizer == "base"
    return documents or any(job.start == "base" for job in recipe.jobs)


def require_exportable(path: Path, formats: tuple[str, ...], *, tokenizer: bool = True) -> None:
    """Raise AssetError unless a model trained from this base, and its tokenizer, could be written in all formats."""
    if path.is_file():
        require_whole(path)
        shapes, layers, rows = _shapes_of_file(path)
    else:
        shapes, layers, rows = _shapes_of_directory(path)
    for format in formats:
        choose_types(shapes, layers, format, path)
    if not tokenizer:
        return
    opened, _ = load_base_tokenizer(path)
    if len(opened) > rows:
        raise AssetError(
            f"its tokenizer has {len(opened):,} tokens, and the model {rows:,} rows for them",
            where=str(path),
            next_step="use the tokenizer that the model was trained with",
        )
    if path.is_dir():
        stops = dict.fromkeys([opened.eos_token_id, *read_stop_tokens(path)])
        require_room_for(list(stops), path / "generation_config.json")


def _shapes_of_file(path: Path) -> tuple[dict[str, tuple[int, ...]], int, int]:
    """Return the shapes of a GGUF file's matrices as far as its metadata tell, its layers and its embeddings' rows."""
    metadata = read_metadata(path)
    architecture = require_architecture(str(metadata.get("general.architecture")), path)
    try:
        own = {key: metadata[f"{architecture}.{key}"] for key in ("embedding_length", "feed_forward_length")}
        layers = int(metadata[f"{architecture}.block_count"])
    except KeyError as error:
        raise AssetError(
            f"lacks {error} in its metadata", where=str(path), next_step="download or convert it again"
        ) from None
    rows = len(metadata.get("tokenizer.ggml.tokens", ()))
    names = {"token_embd.weight": "embedding_length", "blk.0.ffn_down.weight": "feed_forward_length"}
    # A width that varies from layer to layer is a list; only the rows' divisibility counts here.
    widths = {key: max(value) if isinstance(value, list) else int(value) for key, value in own.items()}
    heads, length = (
        metadata.get(f"{architecture}.attention.{key}") for key in ("head_count", "value_length")
    )
    if isinstance(heads, int) and isinstance(length, int):
        names["blk.0.attn_output.weight"] = "attention_length"
        widths["attention_length"] = heads * length
    return {name: (rows, widths[key]) for name, key in names.items()}, layers, rows


def _shapes_of_directory(path: Path) -> tuple[dict[str, tuple[int, ...]], int, int]:
    """Return the shapes of a directory's tensors by GGUF name, its layers and its embeddings' rows."""
    try:
        tensors = CheckpointTensors(path)
    except (SafetensorError, OSError) as error:
        raise AssetError(
            f"has weights that cannot be read ({str(error).splitlines()[0]})",
            where=str(path),
            next_step="download it again",
        ) from error
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(tensors.config)
    for key, tensor in model.state_dict().items():
        found = tensors.checkpoint_shapes.get(key)
        if found is not None and found != tuple(tensor.shape):
            raise AssetError(
                f"its config.json describes {key} as {tuple(tensor.shape)}, and its weights have {found}",
                where=str(path),
                next_step="use the config.json that was saved with the weights",
            )
    return tensors.shapes, tensors.config.num_hidden_layers, tensors.config.vocab_size
