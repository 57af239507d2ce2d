"""Find the family of a model as llama.cpp knows it, and refuse what llama.cpp cannot compute.

llama.cpp computes each architecture in one way, with few settings. A configuration that needs more is refused:
llama.cpp would read the file without an error and compute something else.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoConfig, PretrainedConfig

from tinsmith.base.errors import AssetError
from tinsmith.gguf.biased_families import BIASED_FAMILIES
from tinsmith.gguf.family import GgufFamily, Metadata, context_length
from tinsmith.gguf.gated_families import GATED_FAMILIES

_FAMILIES = {**GATED_FAMILIES, **BIASED_FAMILIES}


def refuse_unwritable(config: PretrainedConfig, where: Path) -> GgufFamily:
    """Return how to write a model's family. Raises AssetError for what llama.cpp cannot compute."""
    family = _FAMILIES.get(config.model_type)
    if family is None:
        known = ", ".join(_FAMILIES)
        reasons = [f"its architecture is {config.model_type}; a GGUF file can be written for {known}"]
    else:
        reasons = [reason for reason, applies in family.unsupported(config).items() if applies]
    if family is None or reasons:
        raise AssetError(
            "; ".join(reasons),
            where=str(where),
            next_step="choose a base of one of these families, without the setting named here",
        )
    return family


def open_configuration(directory: Path) -> PretrainedConfig:
    """Return the configuration of a model in transformers' format. Raises AssetError that names the directory."""
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise AssetError(
            f"has no config.json of a known model ({str(error).splitlines()[0][:100]})",
            where=str(directory),
            next_step="name a complete directory of a model in transformers' format",
        ) from error
    return config


def require_architecture(name: str, where: Path) -> str:
    """Return the name of an architecture if files of it can be written. Raises AssetError otherwise."""
    known = [family.name for family in _FAMILIES.values()]
    if name not in known:
        raise AssetError(
            f"is a GGUF file of the architecture {name}; files of {', '.join(sorted(set(known)))} can be written",
            where=str(where),
            next_step="choose a base of one of these",
        )
    return name


def default_settings(architecture: str) -> Metadata:
    """Return the settings that llama.cpp takes where a file of an architecture does not name them."""
    return next((family.defaults for family in _FAMILIES.values() if family.name == architecture), {})


def architecture_metadata(config: PretrainedConfig) -> Metadata:
    """Return the architecture's metadata by key in the file: integers as int, real numbers as float."""
    family = _FAMILIES[config.model_type]
    values: Metadata = {
        "vocab_size": config.vocab_size,
        "context_length": context_length(config),
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "attention.head_count": config.num_attention_heads,
        **family.metadata(config),
    }
    return {f"{family.name}.{key}": value for key, value in values.items()}
