"""Our scorer as a model of lm-eval: its tokenisation rules, our prefix sharing."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import PreTrainedTokenizerFast

from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.scoring.tree import Tree

Pair = tuple[list[int], list[int]]  # tokens of a context and of what follows it


class ScorerLM(TemplateLM):
    """Answer lm-eval's requests for log-likelihoods (nats) with a `Scorer`.

    Whether a continuation is the greedy one is always False: no test here reads it.
    """

    def __init__(self, scorer: Scorer, tokenizer: PreTrainedTokenizerFast) -> None:
        """Take a scorer and the tokenizer of its model; recent tokenisations are cached."""
        super().__init__()
        self.scorer, self.tokenizer = scorer, tokenizer
        self._tokens = lru_cache(maxsize=4096)(self._tokenise)

    @property
    def eot_token_id(self) -> int:
        """Return the token that ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Return the token that stands where there is no context."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Return tokens, with the special ones that the tokenizer adds unless told otherwise."""
        return self._tokens(string, add_special_tokens)

    def _tokenise(self, string: str, add_special_tokens: bool | None) -> list[int]:
        if add_special_tokens is None:
            add_special_tokens = not string.startswith(self.tokenizer.decode(self.prefix_token_id))
        return self.tokenizer.encode(string, add_special_tokens=add_special_tokens)

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Return (nats, False) for each request; those on one row share a tree."""
        pairs = [self._pair(*request.args) for request in requests]
        return self._read(pairs, [(request.task_name, request.doc_id) for request in requests])

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Return the nats of each whole text, in windows that do not overlap."""
        found = []
        for request in requests:
            windows = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.scorer.max_positions,
                context_len=1,
            )
            pairs = [make_disjoint_window(window) for window in windows]
            found.append(math.fsum(nats for nats, _ in self._read(pairs, range(len(pairs)))))
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Refuse: nothing is generated here."""
        raise NotImplementedError("tests of general ability choose among answers; none is generated")

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        pairs = [(context, continuation) for _, context, continuation in requests]
        return self._read(pairs, range(len(pairs)))

    def _pair(self, context: str, continuation: str) -> Pair:
        """Tokenise as lm-eval does; without context the first token stands for it."""
        if context:
            return self._encode_pair(context, continuation)
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        tokens = tokens if tokens[0] == self.prefix_token_id else [self.prefix_token_id, *tokens]
        return tokens[:1], tokens[1:]

    def _read(self, pairs: Sequence[Pair], keys: Sequence[Hashable]) -> list[tuple[float, bool]]:
        trees: dict[Hashable, Tree] = {}
        places = []
        for (context, continuation), key in zip(pairs, keys, strict=True):
            # Too long a sequence loses its beginning; the last token is a target only and never read.
            tokens = [*context, *continuation][-self.scorer.max_positions - 1 :]
            tree = trees.setdefault((key, tokens[0]), Tree())
            nodes = tree.add(tokens)[-len(continuation) :]
            tree.ask(nodes)
            places.append((tree, nodes))
        found = dict(zip(map(id, trees.values()), self.scorer.score(list(trees.values())), strict=True))
        return [(math.fsum(found[id(tree)][node] for node in nodes), False) for tree, nodes in places]
