"""Formulas of checks: a small language with the syntax of Python, read and evaluated here and never run as code.

It has numbers, texts, lists, comparisons, and/or/not, + - * / // %, `in`, `... if ... else ...`, comprehensions,
subscripts and the functions of `FUNCTIONS`. It has no attributes, powers, repetition, assignments or imports. Numbers
are exact fractions, so 0.1 + 0.2 == 0.3. Length, depth, steps and sizes are bounded.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn, TypeGuard

from tinsmith.base.numerals import numerals
from tinsmith.recipe.formula_values import (
    FUNCTIONS,
    FormulaError,
    Value,
    as_list,
    as_number,
    bounded,
    element,
    has_form,
    kind_of,
    missing,
    shown,
    to_value,
)

MAX_CHARACTERS, MAX_DEPTH = 1_000, 30
MAX_STEPS, MAX_ITEMS, MAX_TEXT = 50_000, 10_000, 1_000_000
_CHARACTERS_PER_STEP = 4  # reading numbers in a text costs a step for each so many characters

_ARITHMETIC: dict[type[ast.operator], Callable[[Fraction, Fraction], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMPARISONS = (*_ORDER, ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)
_VALUES = (
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.Store,
    ast.List,
    ast.Tuple,
    ast.Subscript,
    ast.IfExp,
    ast.Call,
)
_OPERATORS = (ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, *_ARITHMETIC)
_LOOPS = (ast.GeneratorExp, ast.ListComp, ast.comprehension)
_ALLOWED = (*_VALUES, *_OPERATORS, ast.Compare, *_COMPARISONS, *_LOOPS)
_SAID = {
    ast.Pow: "a power",
    ast.Attribute: "an attribute",
    ast.Lambda: "a function",
    ast.NamedExpr: "an assignment",
}


@dataclass(frozen=True)
class Formula:
    """A formula that was read; `source` is what a person wrote."""

    source: str
    tree: ast.expr

    @property
    def names(self) -> frozenset[str]:
        """Return the names that it reads from outside, without those of its comprehensions and functions."""
        return frozenset(_free(self.tree))

    def written_out(self, known: Sequence[str], lists: Sequence[str]) -> Formula:
        """Return the formula with short forms written out: all(w <= 40) becomes all(w <= 40 for w in weights).

        The one name in it that is not known is an element of the one list whose name begins with it. Raises
        FormulaError if there is no such list, or more than one.
        """
        tree = ast.parse(self.source, mode="eval").body
        for node in ast.walk(tree):
            if _is_short(node):
                unknown = sorted(set(_free(node.args[0])) - set(known))
                if len(unknown) == 1:
                    node.args[0] = _spelled_out(node.args[0], unknown[0], lists)
        return Formula(self.source, tree)

    def conjuncts(self) -> list[Formula]:
        """Return the conditions that all have to hold: the parts of an `and`, else the formula itself."""
        parts = (
            self.tree.values
            if isinstance(self.tree, ast.BoolOp) and isinstance(self.tree.op, ast.And)
            else ()
        )
        return [Formula(ast.unparse(part), part) for part in parts] or [self]

    def arguments_of(self, function: str) -> list[Formula]:
        """Return what the formula gives to a function, if it is a call of it; else none."""
        tree = self.tree
        if not (isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == function):
            return []
        return [Formula(ast.unparse(part), part) for part in tree.args]

    def why_not(self, names: Mapping[str, Value]) -> str | None:
        """Return None where the formula is true of the values, else what is wrong with them, perhaps ""."""
        try:
            return None if self.value(names) else _Evaluation(names).reason(self.tree)
        except FormulaError as error:
            return str(error)

    def value(self, names: Mapping[str, Value]) -> Value:
        """Return the value of the formula. Raises FormulaError if it cannot be evaluated."""
        return _Evaluation(names).value(self.tree)


def read_formula(source: str) -> Formula:
    """Read a condition. Raises FormulaError with the place of what the language does not have."""
    if len(source) > MAX_CHARACTERS:
        raise FormulaError(f"it has {len(source)} characters, more than {MAX_CHARACTERS}")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except SyntaxError as error:
        raise FormulaError(f"{error.msg} at character {error.offset}") from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise FormulaError(f"it cannot be read ({type(error).__name__})") from None
    _check(tree, 0)
    if not _is_condition(tree):
        raise FormulaError("it is not a condition; compare it with something, as in sum(weights) == 100")
    return Formula(source.strip(), tree)


# Reading


def _check(node: ast.AST, depth: int) -> None:
    """Raise FormulaError for a node that the language does not have."""
    if not isinstance(node, _ALLOWED):
        said = _SAID.get(type(node), type(node).__name__)
        raise FormulaError(f"{said} is not allowed{_place(node)}")
    if depth > MAX_DEPTH:
        raise FormulaError(f"it is nested more than {MAX_DEPTH} deep{_place(node)}")
    if isinstance(node, ast.Constant) and not (
        node.value is None or isinstance(node.value, bool | int | float | str)
    ):
        raise FormulaError(f"{type(node.value).__name__} is not allowed{_place(node)}")
    if isinstance(node, ast.Constant) and node.value in (float("inf"), float("-inf")):
        raise FormulaError(f"the number is too large{_place(node)}")
    if isinstance(node, ast.Name) and node.id.startswith("__"):
        raise FormulaError(f"{node.id!r} is not allowed{_place(node)}")
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        raise FormulaError(f"a slice is not allowed{_place(node)}")
    if isinstance(node, ast.comprehension) and (node.is_async or not isinstance(node.target, ast.Name)):
        raise FormulaError(f"a comprehension takes one name, as in w for w in weights{_place(node.target)}")
    if isinstance(node, ast.Call):
        _check_call(node)
        children: Iterator[ast.AST] = iter(node.args)
    else:
        children = ast.iter_child_nodes(node)
    for child in children:
        _check(child, depth + 1)


def _check_call(node: ast.Call) -> None:
    if not isinstance(node.func, ast.Name):
        raise FormulaError(f"only functions by name can be called{_place(node)}")
    if node.func.id not in FUNCTIONS:
        raise FormulaError(f"there is no function {node.func.id!r}; use {', '.join(FUNCTIONS)}{_place(node)}")
    fewest, most, _ = FUNCTIONS[node.func.id]
    if node.keywords or not fewest <= len(node.args) <= most:
        number = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise FormulaError(f"{node.func.id} takes {number} values{_place(node)}")
    if node.func.id == "matches":
        pattern = node.args[1]
        if not (isinstance(pattern, ast.Constant) and isinstance(pattern.value, str)):
            raise FormulaError(f"matches takes its pattern as a text in quotes{_place(pattern)}")
        has_form("", pattern.value)


def _place(node: ast.AST) -> str:
    column = getattr(node, "col_offset", None)
    return "" if column is None else f", at character {column + 1}"


def _is_condition(node: ast.AST) -> bool:
    if isinstance(node, ast.BoolOp):
        return all(map(_is_condition, node.values))
    if isinstance(node, ast.IfExp):
        return _is_condition(node.body) and _is_condition(node.orelse)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("all", "any", "matches", "numbers_in")
    is_not = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    return (
        is_not
        or isinstance(node, ast.Compare)
        or (isinstance(node, ast.Constant) and isinstance(node.value, bool))
    )


def _is_short(node: ast.AST) -> TypeGuard[ast.Call]:
    if not (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("all", "any")
    ):
        return False
    return _is_condition(node.args[0]) and not isinstance(node.args[0], ast.Call)


def _spelled_out(condition: ast.expr, name: str, lists: Sequence[str]) -> ast.expr:
    found = [each for each in lists if each.startswith(name)]
    if len(found) != 1:
        said = (
            f"could be an element of {', '.join(found)}" if found else "is not the beginning of a list's name"
        )
        example = f"all({ast.unparse(condition)} for {name} in {(found or list(lists) or ['weights'])[0]})"
        raise FormulaError(f"{name!r} {said}; write {example}")
    clause = ast.comprehension(ast.Name(name, ast.Store()), ast.Name(found[0], ast.Load()), [], 0)
    return ast.GeneratorExp(condition, [clause])


def _free(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from _free(argument)
    elif isinstance(node, ast.GeneratorExp | ast.ListComp):
        inner: set[str] = set()
        for clause in node.generators:
            yield from (name for name in _free(clause.iter) if name not in inner)
            inner |= set(_free(clause.target))
            yield from (name for test in clause.ifs for name in _free(test) if name not in inner)
        yield from (name for name in _free(node.elt) if name not in inner)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _free(child)


# Evaluating


class _Evaluation:
    """One evaluation of a formula: its names, and how many steps it may still take."""

    def __init__(self, names: Mapping[str, Value]) -> None:
        self.names, self.steps = dict(names), 0

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise FormulaError("it takes too long")

    def value(self, node: ast.AST) -> Value:
        """Return the value of a node; every value is within the bounds."""
        self.spend(1)
        match node:
            case ast.Constant(value=given):
                return to_value(given)
            case ast.Name(id=name):
                if name not in self.names:
                    raise FormulaError(f"there is no {name!r}")
                return self.names[name]
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [self.value(part) for part in parts]
            case ast.BoolOp(op=op, values=parts):
                return self.joined(isinstance(op, ast.And), parts)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return not self.value(part)
            case ast.UnaryOp(op=op, operand=part):
                number = as_number(self.value(part), "a sign")
                return -number if isinstance(op, ast.USub) else number
            case ast.BinOp(left=left, op=op, right=right):
                return self.computed(op, self.value(left), self.value(right))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self.compared(left, ops, comparators)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.value(body if self.value(test) else orelse)
            case ast.Subscript(value=part, slice=index):
                return element(self.value(part), self.value(index))
            case ast.GeneratorExp() | ast.ListComp():
                return list(self.elements(node.elt, node.generators))
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self.called(name, arguments)
        _refuse(f"{type(node).__name__} is not allowed")

    def joined(self, is_and: bool, parts: list[ast.expr]) -> Value:
        for part in parts[:-1]:
            if bool(value := self.value(part)) is not is_and:
                return value
        return self.value(parts[-1])

    def computed(self, op: ast.operator, left: Value, right: Value) -> Value:
        if isinstance(op, ast.Add) and type(left) is type(right) and isinstance(left, str | list):
            self.spend((len(left) + len(right)) // _CHARACTERS_PER_STEP)
            if len(left) + len(right) > (MAX_TEXT if isinstance(left, str) else MAX_ITEMS):
                raise FormulaError("it becomes too long")
            return left + right
        a, b = as_number(left, "arithmetic"), as_number(right, "arithmetic")
        if b == 0 and not isinstance(op, ast.Add | ast.Sub | ast.Mult):
            raise FormulaError("it divides by zero")
        return bounded(Fraction(_ARITHMETIC[type(op)](a, b)))

    def compared(self, left: ast.expr, ops: Sequence[ast.cmpop], comparators: Sequence[ast.expr]) -> bool:
        value = self.value(left)
        for op, comparator in zip(ops, comparators, strict=True):
            other = self.value(comparator)
            if not self.compare(op, value, other):
                return False
            value = other
        return True

    def compare(self, op: ast.cmpop, left: Value, right: Value) -> bool:
        if isinstance(op, ast.In | ast.NotIn):
            return self.contains(left, right) is isinstance(op, ast.In)
        if isinstance(op, ast.Is | ast.IsNot) and left is not None and right is not None:
            raise FormulaError("`is` compares with None only; write ==")
        if isinstance(op, ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
            if None not in (left, right) and kind_of(left) != kind_of(right):
                raise FormulaError(f"{shown(left)} is {kind_of(left)}, {shown(right)} is {kind_of(right)}")
            return (left == right) is isinstance(op, ast.Eq | ast.Is)
        if kind_of(left) != kind_of(right) or kind_of(left) not in ("a number", "a text"):
            raise FormulaError(f"{shown(left)} and {shown(right)} have no order")
        return _ORDER[type(op)](left, right)

    def contains(self, part: Value, whole: Value) -> bool:
        """Say whether a list has an element, an object a name, a text a part of it, or a text a number."""
        if isinstance(whole, str):
            self.spend(len(whole) // _CHARACTERS_PER_STEP)
            if isinstance(part, str):
                return part in whole
            return as_number(part, "`in` a text") in {numeral.value for numeral in numerals(whole)}
        if isinstance(whole, dict) and isinstance(part, str):
            return part in whole
        elements = as_list(whole, "`in`")
        self.spend(len(elements))
        return part in elements

    def elements(self, element: ast.expr, clauses: list[ast.comprehension]) -> Iterator[Value]:
        """Yield the elements of a comprehension."""
        if not clauses:
            yield self.value(element)
            return
        clause, *inner = clauses
        assert isinstance(clause.target, ast.Name)
        name, outside = clause.target.id, self.names
        for value in as_list(self.value(clause.iter), "`for`"):
            self.spend(1)
            self.names = {**outside, name: value}
            if all(self.value(test) for test in clause.ifs):
                yield from self.elements(element, inner)
            self.names = outside

    def called(self, name: str, arguments: list[ast.expr]) -> Value:
        if name in ("all", "any") and isinstance(arguments[0], ast.GeneratorExp):
            elements = self.elements(arguments[0].elt, arguments[0].generators)
            return self.decided(elements, name == "all")
        values = [self.value(argument) for argument in arguments]
        self.spend(sum(len(value) // _CHARACTERS_PER_STEP for value in values if isinstance(value, str)))
        self.spend(sum(len(value) for value in values if isinstance(value, list | dict)))
        return FUNCTIONS[name][2](*values)

    def reason(self, node: ast.AST) -> str:
        """Return what makes a condition false: the values that it compares, or the first element that fails."""
        match node:
            case ast.BoolOp(op=ast.And(), values=parts):
                return self.reason(next(part for part in parts if not self.value(part)))
            case ast.Compare(left=left, comparators=comparators):
                sides = [side for side in (left, *comparators) if not isinstance(side, ast.Constant)]
                return ", ".join(f"{ast.unparse(side)} is {shown(self.value(side))}" for side in sides)
            case ast.Call(func=ast.Name(id="numbers_in"), args=[text, source]):
                return f"not there: {', '.join(missing(self.value(text), self.value(source)))}"
            case ast.Call(
                func=ast.Name(id="all"), args=[ast.GeneratorExp(elt=condition, generators=[clause])]
            ):
                assert isinstance(clause.target, ast.Name)
                outside, name = self.names, clause.target.id
                for value in as_list(self.value(clause.iter), "`for`"):
                    self.names = {**outside, name: value}
                    if all(self.value(test) for test in clause.ifs) and not self.value(condition):
                        return self.reason(condition)
        return ""

    def decided(self, elements: Iterator[Value], wanted: bool) -> bool:
        outside = self.names
        for value in elements:
            if bool(value) is not wanted:
                self.names = outside
                return not wanted
        return wanted


def _refuse(why: str) -> NoReturn:
    raise FormulaError(why)
