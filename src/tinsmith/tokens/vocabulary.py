"""Make vocabularies: train byte-level BPE on the corpus, or restrict a base's to what the corpus uses."""

from __future__ import annotations

import heapq
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import RecipeError
from tinsmith.gguf.pretokenizers import build_pre_tokenizer

# As in Qwen2.5-Instruct: one token ends texts and turns, another pads, so that masking padding never hides the stop.
_PAD, _TURN, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_SIZE_KEY, _KEPT_KEY = "model.tokenizer", "train.streamline.vocabulary"

Merge = tuple[str, str]


def parse_size(text: str) -> int:
    """Return the number of tokens in 'bpe@16k' or 'bpe@5000'; k is a thousand."""
    number = text.removeprefix("bpe@")
    return int(number.removesuffix("k")) * (1000 if number.endswith("k") else 1)


def train_vocabulary(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE (Sennrich et al. 2016) of at most `size` tokens, with a ChatML template.

    Text is split as in SmolLM, which llama.cpp knows by name: every digit stands alone. All 256 bytes are tokens, so
    any text round-trips. A pair seen only once makes no token, so a small corpus gives fewer tokens. The same texts
    give the same vocabulary. Raises RecipeError if the bytes and the markup alone are more than `size`.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    markup = [AddedToken(token, normalized=False, special=True) for token in (_PAD, _TURN, _END)]
    if size < len(alphabet) + len(markup):
        raise RecipeError(
            f"{size} tokens are too few for all bytes and the markup",
            where=_SIZE_KEY,
            next_step=f"set at least {len(alphabet) + len(markup)}; bpe@8k is a small vocabulary",
        )
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = build_pre_tokenizer("smollm")
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=markup,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=_END,  # a text is preceded by the end of the one before
        eos_token=_END,
        pad_token=_PAD,
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def restrict_vocabulary(
    tokenizer: PreTrainedTokenizerFast, counts: Sequence[int], size: int
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Keep `size` tokens of a byte-level BPE; return the smaller tokenizer and the old id of each new token.

    Method: leaf-based pruning (Purason et al. 2025). Keep all bytes and added tokens. Among the tokens that no kept
    token is merged from, repeatedly drop the least used (of equals, the latest learnt) and add its uses to the two
    tokens that it was merged from. `counts` are the uses by old id.

    Text of kept tokens only is split exactly as before: the kept merges keep their order and contain every step to a
    kept token. Any other text still round-trips byte for byte.
    Raises RecipeError for other tokenizers, and for a size that is too small or saves nothing.
    """
    saved = json.loads(tokenizer.backend_tokenizer.to_str())
    _check_kind(saved)
    vocabulary: dict[str, int] = saved["model"]["vocab"]
    merges = [_pair(merge) for merge in saved["model"]["merges"]]
    added = {token["id"] for token in saved["added_tokens"]}
    required = added | {token_id for token, token_id in vocabulary.items() if len(token) == 1}
    all_ids = added.union(vocabulary.values())
    _check_size(size, len(required), len(all_ids))
    parts = {
        vocabulary[token]: [vocabulary[part] for part in last] for token, last in _last_merges(merges).items()
    }
    kept = sorted(_prune(all_ids, required, parts, counts, size))
    return _rebuild(tokenizer, saved, merges, {old: new for new, old in enumerate(kept)}), kept


def _prune(
    all_ids: set[int], required: set[int], parts: dict[int, list[int]], counts: Sequence[int], size: int
) -> set[int]:
    """Return the `size` ids to keep; `parts` are the two ids that each token is merged from."""
    kept, uses = set(all_ids), dict(enumerate(counts))
    children = Counter(part for pair in parts.values() for part in pair)
    # Negative ids, so that of equally used tokens the latest learnt is dropped first.
    leaves = [(uses[token], -token) for token in all_ids - required if not children[token]]
    heapq.heapify(leaves)
    while len(kept) > size:
        count, negative = heapq.heappop(leaves)
        kept.remove(-negative)
        for part in parts.get(-negative, ()):
            uses[part] += count
            children[part] -= 1
        for part in set(parts.get(-negative, ())) - required:
            if not children[part]:
                heapq.heappush(leaves, (uses[part], -part))
    return kept


def _check_kind(saved: dict[str, Any]) -> None:
    model = saved["model"]
    decoder = (saved.get("decoder") or {}).get("type")
    if model["type"] != "BPE" or model.get("byte_fallback") or decoder != "ByteLevel":
        raise RecipeError(
            "the base's tokenizer is not a byte-level BPE, and others (such as sentencepiece) cannot be cut exactly",
            where=_KEPT_KEY,
            next_step="set it to 0, or choose a base with a byte-level vocabulary, such as SmolLM2 or Qwen3",
        )


def _check_size(size: int, least: int, most: int) -> None:
    if size < least:
        raise RecipeError(
            f"{size} tokens are too few for the {least} bytes and added tokens of the base",
            where=_KEPT_KEY,
            next_step=f"set at least {least}",
        )
    if size >= most:
        raise RecipeError(
            f"the base has only {most} tokens, so {size} would drop none",
            where=_KEPT_KEY,
            next_step="set fewer, or 0 to keep them all",
        )


def _last_merges(merges: Sequence[Merge]) -> dict[str, Merge]:
    """Return the last merge of each token, without the tokens that merging their own letters does not give.

    In a text, a token's letters are merged as they would be alone, since nothing around them merges with a part of
    them. So if several merges give the same token, only one of them ever applies.
    """
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    rules: dict[str, list[Merge]] = defaultdict(list)
    for merge in merges:
        rules["".join(merge)].append(merge)
    last = {token: made[0] if len(made) == 1 else _join(token, ranks) for token, made in rules.items()}
    return {token: merge for token, merge in last.items() if merge}


def _join(token: str, ranks: dict[Merge, int]) -> Merge | None:
    """Merge a token's letters as BPE does: the earliest learnt pair first, the leftmost of equals.

    Returns the last merge, or None if the merges stop before the whole token.
    """
    parts, last = list(token), None
    while len(parts) > 1:
        pairs = enumerate(itertools.pairwise(parts))
        known = [(ranks[pair], index) for index, pair in pairs if pair in ranks]
        if not known:
            return None
        _, index = min(known)
        last = (parts[index], parts[index + 1])
        parts[index : index + 2] = ["".join(last)]
    return last


def _rebuild(
    tokenizer: PreTrainedTokenizerFast, saved: dict[str, Any], merges: Sequence[Merge], new: dict[int, int]
) -> PreTrainedTokenizerFast:
    model = saved["model"]
    model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
    kept = model["vocab"].keys()
    model["merges"] = [[a, b] for a, b in merges if a in kept and b in kept and a + b in kept]
    for token in saved["added_tokens"]:
        token["id"] = new[token["id"]]
    for token in _post_processor_tokens(saved.get("post_processor")):
        token["ids"] = [new[old] for old in token["ids"]]
    special = {role: value for role in _SPECIAL_TOKENS if (value := getattr(tokenizer, role)) is not None}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(saved)),
        chat_template=tokenizer.chat_template,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
        **special,
    )


def _post_processor_tokens(processor: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the special tokens of a post-processor's templates, each with its `ids`."""
    if processor is None:
        return
    for inner in processor.get("processors", ()):
        yield from _post_processor_tokens(inner)
    yield from (processor.get("special_tokens") or {}).values()


def _pair(merge: Any) -> Merge:
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return first, second
