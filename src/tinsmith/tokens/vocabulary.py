"""Vocabularies of our own: byte-level BPE trained on the corpus, or a base's restricted to what the corpus uses."""

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

# As in Qwen2.5-Instruct: one token ends a text and a turn, another fills, so that no mask of filling hides the stop.
_PAD, _TURN, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_TRAINED, _KEPT = "model.tokenizer", "train.streamline.vocabulary"

Merge = tuple[str, str]


def parse_size(text: str) -> int:
    """Return the tokens that 'bpe@16k' or 'bpe@5000' asks for; k is a thousand."""
    number = text.removeprefix("bpe@")
    return int(number.removesuffix("k")) * (1000 if number.endswith("k") else 1)


def train_vocabulary(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE (Sennrich et al. 2016) of at most `size` tokens, with a ChatML template.

    Digits stand alone and words are cut as in SmolLM, a shape that llama.cpp knows by name. All 256 bytes are
    tokens, so any text comes back as it was. Pairs seen once make no token: a small corpus gives fewer. Equal
    texts give equal tokens. Raises RecipeError where the bytes and the markup alone are more than `size`.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    markup = [AddedToken(token, normalized=False, special=True) for token in (_PAD, _TURN, _END)]
    if size < len(alphabet) + len(markup):
        raise RecipeError(
            f"{size} tokens do not hold the bytes and the markup",
            where=_TRAINED,
            next_step=f"ask for at least {len(alphabet) + len(markup)}; bpe@8k is small",
        )
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
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
        bos_token=_END,  # what stands before a text is the end of the one before
        eos_token=_END,
        pad_token=_PAD,
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def restrict_vocabulary(
    tokenizer: PreTrainedTokenizerFast, counts: Sequence[int], size: int
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Keep `size` tokens of a byte-level BPE; return the smaller tokenizer and the old id of each new one.

    All bytes and added tokens are kept. Of the others, that of which no kept one is merged and which is used
    least is dropped, again and again, its `counts` (one per old id) going to the two that it was merged from;
    of equal ones the latest learnt (leaf-based pruning, Purason et al. 2025).
    A text that the old tokenizer cuts into kept tokens only is cut alike by the new one: the kept merges are a
    part of the old ones in the old order, and hold every step on the way to a kept token. Any other text still
    comes back byte for byte.
    Raises RecipeError for another kind of tokenizer, and for a size that is too small or saves nothing.
    """
    facts = json.loads(tokenizer.backend_tokenizer.to_str())
    _check_kind(facts)
    vocabulary: dict[str, int] = facts["model"]["vocab"]
    merges = [_pair(merge) for merge in facts["model"]["merges"]]
    added = {row["id"] for row in facts["added_tokens"]}
    must = added | {number for token, number in vocabulary.items() if len(token) == 1}
    every = added.union(vocabulary.values())
    _check_size(size, len(must), len(every))
    parts = {
        vocabulary[token]: [vocabulary[part] for part in last] for token, last in _last_merges(merges).items()
    }
    order = sorted(_prune(every, must, parts, counts, size))
    return _rebuild(tokenizer, facts, merges, {old: new for new, old in enumerate(order)}), order


def _prune(
    every: set[int], must: set[int], parts: dict[int, list[int]], counts: Sequence[int], size: int
) -> set[int]:
    kept, uses = set(every), dict(enumerate(counts))
    children = Counter(part for both in parts.values() for part in both)
    leaves = [(uses[number], -number) for number in every - must if not children[number]]
    heapq.heapify(leaves)
    while len(kept) > size:
        count, number = heapq.heappop(leaves)
        kept.remove(-number)
        for part in parts.get(-number, ()):
            uses[part] += count
            children[part] -= 1
        for part in set(parts.get(-number, ())) - must:
            if not children[part]:
                heapq.heappush(leaves, (uses[part], -part))
    return kept


def _check_kind(facts: dict[str, Any]) -> None:
    model = facts["model"]
    decoder = (facts.get("decoder") or {}).get("type")
    if model["type"] != "BPE" or model.get("byte_fallback") or decoder != "ByteLevel":
        raise RecipeError(
            "the base's tokenizer is no byte-level BPE (sentencepiece scores, for one, cannot be cut exactly)",
            where=_KEPT,
            next_step="set it to 0, or take a base with a byte-level vocabulary such as SmolLM2 or Qwen3",
        )


def _check_size(size: int, least: int, most: int) -> None:
    if size < least:
        raise RecipeError(
            f"{size} tokens do not hold the {least} bytes and added tokens of the base",
            where=_KEPT,
            next_step=f"ask for more than {least}",
        )
    if size >= most:
        raise RecipeError(
            f"the base has {most} tokens, so {size} drop none",
            where=_KEPT,
            next_step="ask for fewer, or set it to 0",
        )


def _last_merges(merges: Sequence[Merge]) -> dict[str, Merge]:
    """Return the merge that makes each token; none for one that its letters do not lead to.

    A token's letters are joined in a text as they are joined alone, since what lies around them is never joined
    with a part of them. So where two merges make one token, only one of them ever does.
    """
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    rules: dict[str, list[Merge]] = defaultdict(list)
    for merge in merges:
        rules["".join(merge)].append(merge)
    found = {token: own[0] if len(own) == 1 else _join(token, ranks) for token, own in rules.items()}
    return {token: merge for token, merge in found.items() if merge}


def _join(token: str, ranks: dict[Merge, int]) -> Merge | None:
    """Join a token's letters as BPE does, the earliest learnt pair first, the leftmost of equals; return the last.

    None where they do not lead to the token, which then is only ever taken whole.
    """
    parts, last = list(token), None
    while len(parts) > 1:
        pairs = enumerate(itertools.pairwise(parts))
        known = [(ranks[pair], place) for place, pair in pairs if pair in ranks]
        if not known:
            return None
        _, place = min(known)
        last = (parts[place], parts[place + 1])
        parts[place : place + 2] = ["".join(last)]
    return last


def _rebuild(
    tokenizer: PreTrainedTokenizerFast, facts: dict[str, Any], merges: Sequence[Merge], new: dict[int, int]
) -> PreTrainedTokenizerFast:
    model = facts["model"]
    model["vocab"] = {token: new[old] for token, old in model["vocab"].items() if old in new}
    kept = model["vocab"].keys()
    model["merges"] = [[a, b] for a, b in merges if a in kept and b in kept and a + b in kept]
    for row in facts["added_tokens"]:
        row["id"] = new[row["id"]]
    for row in _post_processor_tokens(facts.get("post_processor")):
        row["ids"] = [new[old] for old in row["ids"]]
    named = {role: value for role in _ROLES if (value := getattr(tokenizer, role)) is not None}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(facts)),
        chat_template=tokenizer.chat_template,
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
        **named,
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
