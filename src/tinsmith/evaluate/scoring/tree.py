"""A tree of token sequences: common beginnings are stored, and read by the model, once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Tree:
    """Token sequences whose common beginnings are stored once.

    Node i holds a token; its log-probability is that of the token after its ancestors. Node 0 is the root and
    cannot be asked for.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self.asked: set[int] = set()
        self._children: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, tokens: Sequence[int]) -> list[int]:
        """Add one sequence; return its nodes. All sequences of a tree start with the same token."""
        assert tokens
        assert not self.tokens or tokens[0] == self.tokens[0]
        parent, nodes = -1, []
        for token in tokens:
            node = self._children.get((parent, token))
            if node is None:
                node = self._children[parent, token] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(parent)
                self.depths.append(self.depths[parent] + 1 if parent >= 0 else 0)
            nodes.append(node)
            parent = node
        return nodes

    def ask(self, nodes: Sequence[int]) -> None:
        """Request the log-probabilities of these nodes."""
        assert 0 not in nodes, "the first token of a tree has no context"
        self.asked.update(nodes)

    @property
    def is_chain(self) -> bool:
        """Say whether the tree is one sequence."""
        return all(parent == node - 1 for node, parent in enumerate(self.parents))

    def trunk(self) -> tuple[Tree, dict[int, int]]:
        """Return the tree without its leaves, which need not be read, and the new index of each kept node."""
        kept = sorted({0, *self.parents} - {-1})
        places = {node: place for place, node in enumerate(kept)}
        trunk = Tree()
        trunk.tokens = [self.tokens[node] for node in kept]
        trunk.parents = [places.get(self.parents[node], -1) for node in kept]
        trunk.depths = [self.depths[node] for node in kept]
        return trunk, places

    def ancestors(self) -> np.ndarray:
        """Return (n, n) bool: row i marks what node i may attend to, itself included."""
        table = np.eye(len(self), dtype=bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                table[node] |= table[parent]
        return table

    def chains(self) -> list[list[int]]:
        """Return the nodes from root to leaf for every leaf."""
        leaves = sorted(set(range(len(self))) - set(self.parents))
        return [self._path(leaf) for leaf in leaves]

    def _path(self, node: int) -> list[int]:
        path = []
        while node >= 0:
            path.append(node)
            node = self.parents[node]
        return path[::-1]
