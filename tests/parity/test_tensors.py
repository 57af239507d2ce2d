"""Why a tensor is not that of another model is named, and what rounding explains is not."""

from __future__ import annotations

import numpy as np
import pytest

from tinsmith.parity.opened import OpenedModel, Rows
from tinsmith.parity.tensors import tensor_findings

DRAW = np.random.default_rng(3)
MATRIX = DRAW.normal(0, 0.02, (96, 128)).astype(np.float32)
OTHER = DRAW.normal(0, 0.02, (96, 128)).astype(np.float32)
LOW_RANK = (DRAW.normal(0, 0.05, (96, 4)) @ DRAW.normal(0, 0.2, (4, 128))).astype(np.float32)


class Held(OpenedModel):
    """A model that is nothing but its tensors."""

    def __init__(self, called: str, types: dict[str, str], **tensors: Rows) -> None:
        self.called = called
        self._tensors = {name.replace("_weight", ".weight"): rows for name, rows in tensors.items()}
        self.types = {name: types.get(name, "F32") for name in self._tensors}

    def rows(self, tensor: str) -> Rows:
        return self._tensors[tensor]


def told(got: Rows, expected: Rows = MATRIX, name: str = "a", **types: str) -> list[tuple[str, str]]:
    a, b = Held("A", {}, **{name: expected}), Held("B", types, **{name: got})
    return [(finding.kind, finding.text) for finding in tensor_findings(a, b)]


@pytest.mark.parametrize(
    ("got", "type", "kind", "words"),
    [
        (MATRIX[:, :64], "F32", "weights", "a has other values"),
        (OTHER, "F16", "weights", "a has other values"),
        (MATRIX * np.nan, "F32", "weights", "a has other values"),
        (2 * MATRIX, "F32", "weights", "a has 2 times the values"),
        (-MATRIX, "F32", "weights", "a has -1 times the values"),
        (
            MATRIX + 0.4 * OTHER,
            "Q8_0",
            "quantisation",
            "a has lost more in rounding than F32 and Q8_0 explain",
        ),
        (MATRIX + LOW_RANK, "F16", "adapter", "a has another matrix of low rank added"),
    ],
)
def test_the_cause_is_named(got: Rows, type: str, kind: str, words: str) -> None:
    ((found, text),) = told(got, a=type)
    assert (found, words in text) == (kind, True), text


def test_what_a_type_explains_is_not_told() -> None:
    assert told(MATRIX) == []
    assert told(MATRIX + 0.02 * OTHER, a="Q8_0") == []
    assert told(MATRIX + 0.15 * OTHER, a="Q4_K") == []
    assert told(MATRIX + 0.15 * OTHER, a="Q6_K")[0][0] == "quantisation"


def test_tensors_that_only_one_has_are_counted() -> None:
    a, b = Held("A", {}, a=MATRIX, b=MATRIX, c=MATRIX), Held("B", {}, a=MATRIX, d=MATRIX)
    assert [finding.text for finding in tensor_findings(a, b)] == [
        "2 tensors, such as b, are missing in B",
        "d is missing in A",
    ]


def test_rows_in_another_order_are_an_order_of_the_vocabulary() -> None:
    ((kind, text),) = told(np.roll(MATRIX, 7, axis=0), name="token_embd_weight")
    assert (kind, text) == ("vocabulary order", "the rows of token_embd.weight are in another order")


def test_an_output_layer_that_repeats_the_embeddings_is_no_difference() -> None:
    tied = Held("A", {}, token_embd_weight=MATRIX)
    for output, expected in ((MATRIX, []), (OTHER, ["output layer"])):
        own = Held("B", {}, token_embd_weight=MATRIX, output_weight=output)
        for pair in ((tied, own), (own, tied)):
            assert [finding.kind for finding in tensor_findings(*pair)] == expected


def test_an_adapter_is_counted_through_rounding() -> None:
    base, change = MATRIX, 0.05 * LOW_RANK
    noise = 0.1 * OTHER
    a, before = Held("A", {}, a=base + change), Held("the base", {}, a=base)
    for times, words in ((0, "was not folded into B"), (2, "was folded twice into B"), (1, "")):
        b = Held("B", {"a": "Q4_K"}, a=base + times * change + noise)
        texts = [finding.text for finding in tensor_findings(a, b, before)]
        assert [words in text for text in texts] == ([True] if words else [])
