"""Find out why a tensor of one model is not that of another: swapped, an adapter, rounding, other rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinsmith.parity.findings import (
    ADAPTER,
    OUTPUT_LAYER,
    QUANTISATION,
    SWAPPED,
    VOCABULARY_ORDER,
    WEIGHTS,
    Finding,
    architecture,
    settings_findings,
    stop_findings,
    template_findings,
    tokenizer_findings,
)
from tinsmith.parity.opened import OpenedModel, Rows

# Relative errors that rounding to a type explains: about twice that of normally distributed weights.
_ROUNDING = {
    "F32": 1e-3,
    "F16": 2e-3,
    "BF16": 1e-2,
    "8": 0.03,
    "6": 0.06,
    "5": 0.1,
    "4": 0.2,
    "3": 0.35,
    "2": 0.6,
}
_SAME_TENSOR = 0.6  # correlation of what is the same tensor, rounded badly
_ANOTHER = 1.2  # relative error of what is another tensor: two of one size are 1.4 apart
_SCALED = 0.05  # relative error of what is the same but for a factor
_LOW_RANK = 0.5  # an adapter changes a matrix by one of at most this share of the full rank
_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


def all_findings(a: OpenedModel, b: OpenedModel, base: OpenedModel | None = None) -> Iterator[Finding]:
    """Compare what two models say and hold; `base` is that of A where A is an adapter."""
    yield from settings_findings(a, b)
    yield from tokenizer_findings(a, b)
    yield from template_findings(a, b)
    yield from stop_findings(a, b)
    if architecture(a) == architecture(b):
        yield from tensor_findings(a, b, base)


def tensor_findings(a: OpenedModel, b: OpenedModel, base: OpenedModel | None = None) -> Iterator[Finding]:
    """Compare every tensor of two models by its sampled rows; `base` is that of A where A is an adapter."""
    yield from _output_findings(a, b)
    shared = [name for name in a.types if name in b.types and not name.startswith("rope_")]
    for here, there in ((a, b), (b, a)):
        lost = sorted(here.types.keys() - there.types.keys() - {_OUTPUT})
        lost = [name for name in lost if not name.startswith("rope_")]
        if lost:
            which = f"{lost[0]} is" if len(lost) == 1 else f"{len(lost)} tensors, such as {lost[0]}, are"
            yield Finding(WEIGHTS, f"{which} missing in {there.called}")
    errors = {name: _error(a.rows(name), b.rows(name)) for name in shared}
    wrong = [name for name in shared if not errors[name] <= _allowed(a, b, name)]
    if base is not None and (folded := _adapter_finding(a, b, base, shared)):
        yield folded
        wrong = [name for name in wrong if _is_unchanged(a, base, name)]
    if not wrong:
        return
    swapped = dict(_swapped(a, b, wrong))
    for name, other in swapped.items():
        yield Finding(SWAPPED, f"{name} in {b.called} is {other} in {a.called}")
    left = [name for name in wrong if name not in swapped]
    by_kind: dict[str, list[str]] = {}
    for name in left:
        by_kind.setdefault(_explain(a, b, name), []).append(name)
    for kind, names in by_kind.items():
        yield _told(kind, names, errors, a, b)


def _told(kind: str, names: list[str], errors: dict[str, float], a: OpenedModel, b: OpenedModel) -> Finding:
    worst = max(names, key=lambda name: errors[name] if np.isfinite(errors[name]) else np.inf)
    which = names[0] if len(names) == 1 else f"{len(names)} tensors, such as {worst},"
    have = "has" if len(names) == 1 else "have"
    by = f"(relative error {errors[worst]:.2g})"
    types = f"{a.types[worst]} and {b.types[worst]}"
    if kind == "scaled":
        return Finding(WEIGHTS, f"{which} {have} {_times(a.rows(worst), b.rows(worst)):.3g} times the values")
    if kind == "rows":
        return Finding(VOCABULARY_ORDER, f"the rows of {which} are in another order")
    if kind == "low rank":
        why = "one of the models lacks an adapter, or has it twice"
        return Finding(ADAPTER, f"{which} {have} another matrix of low rank added: {why} {by}")
    if kind == "rounded":
        return Finding(QUANTISATION, f"{which} {have} lost more in rounding than {types} explain {by}")
    return Finding(WEIGHTS, f"{which} {have} other values {by}")


def _adapter_finding(a: OpenedModel, b: OpenedModel, base: OpenedModel, names: list[str]) -> Finding | None:
    """Compare how often B has the adapter of A: the share of its change that B shows over the base."""
    shown = whole = 0.0
    for name in names:
        change, got = a.rows(name) - base.rows(name), b.rows(name)
        if change.shape == got.shape:
            shown += float(((got - base.rows(name)) * change).sum(dtype=np.float64))
            whole += float(np.square(change).sum(dtype=np.float64))
    times = shown / whole if whole else 1.0
    if 0.5 < times < 1.5:
        return None
    how = "not folded" if times < 0.5 else "folded twice" if times < 2.5 else "folded several times"
    said = f"{b.called} shows {times:.2f} of its change of the base"
    return Finding(ADAPTER, f"the adapter of {a.called} was {how} into {b.called}: {said}")


def _is_unchanged(a: OpenedModel, base: OpenedModel, name: str) -> bool:
    return bool(np.allclose(a.rows(name), base.rows(name), rtol=1e-3, atol=1e-6))


def _output_findings(a: OpenedModel, b: OpenedModel) -> Iterator[Finding]:
    """Compare the output layer where only one of the models has one apart from its embeddings."""
    owns = [_OUTPUT in model.types for model in (a, b)]
    if owns[0] == owns[1]:
        return
    owner = a if owns[0] else b
    error = _error(owner.rows(_EMBEDDING), owner.rows(_OUTPUT))
    if not error <= _allowed(owner, owner, _OUTPUT) + _allowed(owner, owner, _EMBEDDING):
        name, tied = (a.called, b.called) if owns[0] else (b.called, a.called)
        yield Finding(
            OUTPUT_LAYER,
            f"{tied} takes its embeddings as output layer, and {name} has another one (relative error {error:.2g})",
        )


def _bits(type: str) -> str:
    if type in _ROUNDING:
        return type
    return next((digit for digit in type if digit in "23456789"), "2")


def _allowed(a: OpenedModel, b: OpenedModel, name: str) -> float:
    return sum(_ROUNDING.get(_bits(model.types[name]), 0.6) for model in (a, b))


def _error(expected: Rows, got: Rows) -> float:
    """Return the root mean square of the difference, relative to that of the expected values."""
    if expected.shape != got.shape:
        return float("inf")
    scale = float(np.square(expected).mean()) or 1.0
    return float(np.square(got - expected).mean() / scale) ** 0.5


def _swapped(a: OpenedModel, b: OpenedModel, wrong: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (tensor of B, tensor of A that it holds) of those in each other's place."""
    for name in wrong:
        for other in wrong:
            if other != name and _error(a.rows(other), b.rows(name)) <= _allowed(a, b, name):
                yield name, other
                break


def _explain(a: OpenedModel, b: OpenedModel, name: str) -> str:
    expected, got = a.rows(name), b.rows(name)
    if expected.shape != got.shape or not np.isfinite(got).all():
        return "other"
    if _error(_times(expected, got) * expected, got) <= _SCALED:
        return "scaled"
    if name in (_EMBEDDING, _OUTPUT) and _rows_moved(expected, got):
        return "rows"
    if _error(expected, got) > _ANOTHER:
        return "other"
    if expected.ndim == 2 and _rank_share(got - expected) <= _LOW_RANK:
        return "low rank"
    return "rounded" if _correlation(expected, got) >= _SAME_TENSOR else "other"


def _times(expected: Rows, got: Rows) -> float:
    """Return by what the expected values come nearest to the others."""
    size = float(np.square(expected).sum(dtype=np.float64))
    return float((expected * got).sum(dtype=np.float64)) / size if size else 0.0


def _rows_moved(expected: Rows, got: Rows) -> bool:
    """Say whether some rows are right and the others are not at all: rounding would spread over all."""
    errors = np.array([_error(left, right) for left, right in zip(expected, got)])
    return bool((errors < 0.3).any() and (errors > 0.9).any()) or bool((errors > 0.9).all())


def _rank_share(change: Rows) -> float:
    """Return the share of the singular values that hold 99% of a change."""
    values = np.square(np.linalg.svd(change.astype(np.float64), compute_uv=False))
    return float((np.searchsorted(np.cumsum(values), 0.99 * values.sum()) + 1) / len(values))


def _correlation(expected: Rows, got: Rows) -> float:
    norms = float(np.linalg.norm(expected) * np.linalg.norm(got))
    return float((expected * got).sum()) / norms if norms else 0.0
