"""Choose the code of transformers that computes attention: its default drops a cap of scores without an error."""

from __future__ import annotations

from transformers import PretrainedConfig, PreTrainedModel


def caps_scores(config: PretrainedConfig) -> bool:
    """Say whether attention caps its scores before the softmax, as gemma2's does."""
    return bool(getattr(config.get_text_config(), "attn_logit_softcapping", None))


def use_stock_attention(model: PreTrainedModel) -> None:
    """Make a model attend by transformers' own code: the fast one, or where scores are capped the one that caps."""
    model.set_attn_implementation("eager" if caps_scores(model.config) else "sdpa")
