"""Score tokens with a causal model: each prefix is read once, the vocabulary passes in chunks."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from tinsmith.base.errors import AssetError
from tinsmith.base.progress import Advance
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.model.output_layer import OutputLayer, output_layer, output_layer_error

_SAME_NATS = 5e-3  # two ways to compute one log-probability in float32 differ by less
_SAME_STATES = 1e-4  # of the largest: equal rows of one batch are computed alike
_MASKED = -1e9
_BATCH_TOKENS = {False: 1024, True: 32768}  # on a CPU and on a GPU: more was not faster


def target_scores(
    hidden: Tensor,
    targets: Tensor,
    output: OutputLayer,
    *,
    chunk: int = 4096,
) -> tuple[Tensor, Tensor]:
    """Return ln p of targets (N,), and the most likely tokens (N,); of equals the one with the smallest id.

    From hidden states (N, H). Products have the precision of the output weights, sums are float32. The vocabulary
    passes in chunks of rows, so at most (N, chunk) logits exist at a time.
    """
    hidden = hidden.to(output.weight.dtype)  # some families keep their residual stream in float32
    top1 = torch.zeros_like(targets)
    best = torch.full((len(hidden),), -math.inf, device=hidden.device)
    wanted, total = torch.zeros_like(best), torch.zeros_like(best)
    for start in range(0, len(output.weight), chunk):
        logits = output.rows(slice(start, start + chunk)).logits(hidden)
        own = targets - start
        inside = (own >= 0) & (own < logits.shape[1])
        wanted = torch.where(
            inside, logits.gather(1, own.clamp(0, logits.shape[1] - 1)[:, None])[:, 0], wanted
        )
        highest, place = logits.max(dim=1)
        top1 = torch.where(highest > best, place + start, top1)
        higher = torch.maximum(best, highest)
        total = total * (best - higher).exp() + logits.sub_(higher[:, None]).exp_().sum(dim=1)
        best = higher
    return wanted - best - total.log(), top1


class Scorer:
    """Score trees of tokens with one model. Counts `forwards`, and `tokens` that went through the model."""

    def __init__(self, model: PreTrainedModel, *, name: str, batch_tokens: int = 0) -> None:
        """Take a model in evaluation mode; `batch_tokens` 0 means what suits its device."""
        self.body = model.base_model
        if model.get_output_embeddings() is None:
            raise AssetError(
                "has no output layer to score with", where=name, next_step="name a causal language model"
            )
        self.output = output_layer(model)
        self.config = model.config.get_text_config()
        self.name, self.device = name, model.device
        self.batch_tokens = batch_tokens or _BATCH_TOKENS[self.device.type == "cuda"]
        self.max_positions = int(getattr(self.config, "max_position_embeddings", None) or 2**31)
        self.forwards = self.tokens = 0
        self._check_causal()
        self._check_output_layer(model)
        self.branches = self._branches_agree()

    def round_weights(self) -> None:
        """Compute in bfloat16 from now on; what __init__ checks was checked in float32. Buffers stay as they are.

        Raises AssetError where the model cannot compute in bfloat16, or overflows.
        """
        for parameter in itertools.chain(self.body.parameters(), (self.output.weight,)):
            parameter.data = parameter.data.to(torch.bfloat16)
        if self.output.bias is not None:
            self.output.bias.data = self.output.bias.data.to(torch.bfloat16)
        chain = Tree()
        chain.ask(chain.add(self._probe(6))[1:])
        try:
            values = self.score([chain], prefix=self._probe(1) if self.branches else ())[0].values()
        except RuntimeError as error:
            raise AssetError(
                f"cannot be computed in bfloat16 ({str(error).splitlines()[0]})",
                where=self.name,
                next_step="set evaluate.precision to float32",
            ) from error
        if not all(map(math.isfinite, values)):
            raise AssetError(
                "overflows in bfloat16", where=self.name, next_step="set evaluate.precision to float32"
            )

    def score(
        self, trees: Sequence[Tree], *, prefix: Sequence[int] = (), advance: Advance = lambda tokens: None
    ) -> list[dict[int, float]]:
        """Return for each tree the log-probability (nats) of each node asked for, after a common prefix.

        The prefix is read once. Raises AssetError where a sequence is longer than the model can read.
        """
        trunks = [tree.trunk()[0] for tree in trees]
        longest = max((max(trunk.depths) + 1 for trunk in trunks), default=0) + len(prefix)
        if longest > self.max_positions:
            raise AssetError(
                f"reads at most {self.max_positions} tokens, {longest} are asked for",
                where=self.name,
                next_step="lower evaluate.window, evaluate.shots or the task's characters",
            )
        if not self.branches and (prefix or not all(trunk.is_chain for trunk in trunks)):
            return [self._score_apart(tree, prefix, advance) for tree in trees]
        with torch.inference_mode():
            past = self._read_prefix(prefix) if prefix else None
            results: list[dict[int, float]] = [{} for _ in trees]
            for batch in batches(
                [len(trunk) for trunk in trunks], [trunk.is_chain for trunk in trunks], self.batch_tokens
            ):
                chosen = [trees[i] for i in batch]
                for i, values in zip(batch, self._score_batch(chosen, past), strict=True):
                    results[i] = values
                advance(sum(len(tree) for tree in chosen))
        return results

    def read(
        self, sequences: Sequence[Sequence[int]], *, advance: Advance = lambda tokens: None
    ) -> list[tuple[list[float], list[bool]]]:
        """Return for each sequence the log-probabilities (nats) of all its tokens but the first, and whether each is
        the most likely one."""
        results: list[tuple[list[float], list[bool]]] = [([], []) for _ in sequences]
        lengths = [len(sequence) for sequence in sequences]
        with torch.inference_mode():
            for batch in batches(lengths, [True] * len(lengths), self.batch_tokens):
                ids = torch.zeros(len(batch), max(lengths[i] for i in batch), dtype=torch.long)
                for row, i in enumerate(batch):
                    ids[row, : lengths[i]] = torch.tensor(sequences[i])
                self.forwards += 1
                self.tokens += ids.numel()
                ids = ids.to(self.device)
                hidden = self.body(input_ids=ids, use_cache=False).last_hidden_state
                for row, i in enumerate(batch):
                    states, targets = hidden[row, : lengths[i] - 1], ids[row, 1 : lengths[i]]
                    found, top1 = target_scores(states, targets, self.output)
                    results[i] = found.double().tolist(), (top1 == targets).tolist()
                advance(ids.numel())
        return results

    def _score_apart(self, tree: Tree, prefix: Sequence[int], advance: Advance) -> dict[int, float]:
        """Score a tree as separate sequences, for models whose attention cannot be told about branches."""
        values: dict[int, float] = {}
        with torch.inference_mode():
            for nodes in tree.chains():
                chain = Tree()
                path = chain.add([*prefix, *(tree.tokens[node] for node in nodes)]) if prefix else None
                path = path or chain.add([tree.tokens[node] for node in nodes])
                own = dict(zip(path[len(prefix) :], nodes, strict=True))
                chain.ask([place for place, node in own.items() if node in tree.asked])
                values |= {own[place]: value for place, value in self._score_batch([chain], None)[0].items()}
        advance(len(tree))
        return values

    def _score_batch(
        self, trees: Sequence[Tree], past: list[tuple[Tensor, Tensor]] | None
    ) -> list[dict[int, float]]:
        trunks, places_of = zip(*(tree.trunk() for tree in trees), strict=True)
        hidden = self._hidden(trunks, past)
        places = [(row, node, tree) for row, tree in enumerate(trees) for node in sorted(tree.asked)]
        if not places:
            return [{} for _ in trees]
        rows = torch.tensor([row for row, _, _ in places], device=self.device)
        parents = torch.tensor(
            [places_of[row][tree.parents[node]] for row, node, tree in places], device=self.device
        )
        targets = torch.tensor([tree.tokens[node] for _, node, tree in places], device=self.device)
        found, _ = target_scores(hidden[rows, parents], targets, self.output)
        results: list[dict[int, float]] = [{} for _ in trees]
        for (row, node, _), value in zip(places, found.double().tolist(), strict=True):
            results[row][node] = value
        return results

    def _hidden(self, trees: Sequence[Tree], past: list[tuple[Tensor, Tensor]] | None) -> Tensor:
        """Run the model without its output layer: (trees, longest, hidden). Padding is on the right."""
        width = max(len(tree) for tree in trees)
        ids = torch.zeros(len(trees), width, dtype=torch.long)
        for row, tree in enumerate(trees):
            ids[row, : len(tree)] = torch.tensor(tree.tokens)
        self.forwards += 1
        self.tokens += ids.numel()
        ids = ids.to(self.device)
        if past is None and all(tree.is_chain for tree in trees):
            # Causal attention never looks at padding on the right, so the library's own mask is right.
            return self.body(input_ids=ids, use_cache=False).last_hidden_state
        given = past[0][0].shape[2] if past else 0
        positions, masks = self._positions_and_masks(trees, width, given)
        cache = DynamicCache(
            [(k.expand(len(trees), -1, -1, -1), v.expand(len(trees), -1, -1, -1)) for k, v in past or []]
        )
        return self.body(
            input_ids=ids,
            position_ids=positions,
            attention_mask=masks,
            past_key_values=cache if past else None,
            use_cache=bool(past),
        ).last_hidden_state

    def _positions_and_masks(self, trees: Sequence[Tree], width: int, given: int) -> tuple[Tensor, Any]:
        positions = np.zeros((len(trees), width), dtype=np.int64)
        allowed = np.zeros((len(trees), width, given + width), dtype=bool)
        allowed[:, :, :given] = True
        allowed[:, np.arange(width), given + np.arange(width)] = (
            True  # padding sees itself: no row without a key
        )
        for row, tree in enumerate(trees):
            positions[row, : len(tree)] = np.asarray(tree.depths) + given
            allowed[row, : len(tree), given : given + len(tree)] = tree.ancestors()
        keys = np.concatenate([np.broadcast_to(np.arange(given), (len(trees), given)), positions], axis=1)
        distance = positions[:, :, None] - keys[:, None, :]
        return torch.from_numpy(positions).to(self.device), self._masks(allowed, distance)

    def _masks(self, allowed: np.ndarray, distance: np.ndarray) -> Any:
        """Return one additive mask (B, 1, T, S), or one per type of layer where the model has several."""
        window = getattr(self.config, "sliding_window", None)
        kinds = getattr(self.config, "layer_types", None)

        def additive(sliding: bool) -> Tensor:
            table = allowed & (distance < window) if sliding and window else allowed
            mask = torch.zeros(table.shape, dtype=self.output.weight.dtype).masked_fill_(
                torch.from_numpy(~table), _MASKED
            )
            return mask[:, None].to(self.device)

        if kinds:
            return {kind: additive("sliding" in kind) for kind in set(kinds)}
        return additive(window is not None)

    def _read_prefix(self, prefix: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
        cache = (
            DynamicCache()
        )  # without the config: sliding layers then keep all keys, and our masks hide them
        self.forwards += 1
        self.tokens += len(prefix)
        self.body(
            input_ids=torch.tensor([list(prefix)], device=self.device), past_key_values=cache, use_cache=True
        )
        return [(layer.keys, layer.values) for layer in cache.layers]

    def _check_causal(self) -> None:
        """Change the last token: where that changes states before it, the model sees the answer."""
        ids = self._probe(8)
        with torch.inference_mode():
            one, other = self.body(
                input_ids=torch.tensor([ids[:6], [*ids[:5], ids[7]]], device=self.device)
            ).last_hidden_state[:, :5]
        worst = (one - other).abs().max() / one.abs().max().clamp_min(1e-9)
        if not worst.item() < _SAME_STATES:
            raise AssetError(
                "is bidirectional, so it would see the answer",
                where=self.name,
                next_step="name a causal language model, not an encoder",
            )

    def _check_output_layer(self, model: PreTrainedModel) -> None:
        """Compare with the model's own logits: an unknown scaling after the output layer must be found."""
        inputs = {"input_ids": torch.tensor([self._probe(6)], device=self.device), "use_cache": False}
        worst = output_layer_error(model, inputs)
        if not worst < _SAME_NATS:
            raise AssetError(
                f"its output layer is more than a product and a softcap (results differ by {worst:.3g})",
                where=self.name,
                next_step="this architecture cannot be scored yet; take another model",
            )

    def _branches_agree(self) -> bool:
        """Say whether branches and a cached prefix give what separate sequences give."""
        parameters = inspect.signature(self.body.forward).parameters
        if not {"position_ids", "past_key_values"} <= set(parameters):
            return False
        ids = self._probe(10)
        tree = Tree()
        left, right = tree.add(ids[3:7]), tree.add([*ids[3:5], *ids[7:]])
        tree.ask([*left[1:], *right[1:]])
        with torch.inference_mode():
            joint = self._score_batch([tree], self._read_prefix(ids[:3]))[0]
        apart = self._score_apart(tree, ids[:3], lambda tokens: None)
        return max(abs(joint[node] - apart[node]) for node in apart) < _SAME_NATS

    def _probe(self, count: int) -> list[int]:
        return [
            int(token)
            for token in np.random.default_rng(0).permutation(min(len(self.output.weight), 1000))[:count]
        ]


def batches(lengths: Sequence[int], kinds: Sequence[bool], limit: int) -> list[list[int]]:
    """Group indices by kind and length, longest first, so that count times longest stays within `limit`."""
    groups: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: (not kinds[i], -lengths[i], i)):
        group = groups[-1] if groups else None
        if group and kinds[group[0]] == kinds[i] and lengths[group[0]] * (len(group) + 1) <= limit:
            group.append(i)
        else:
            groups.append([i])
    return groups
