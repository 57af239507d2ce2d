"""Small wrong changes to source code, one at a time: what `mutate.py` asks the tests to notice.

The operators are those that mutation tools share: an operator, a number, a constant or a string is exchanged, a
condition negated, a keyword argument, a call or a raise removed, a result dropped.

Left out, since no test should fail for them:

- what people read: docstrings, strings with spaces, f-strings, the arguments of errors, progress lines and prints,
  the keywords of PROSE
- what the type checker reads: annotations, casts, imports, decorators, blocks under TYPE_CHECKING
- assertions, `strict=` of zip, `encoding=` and `version=`, which guard against mistakes elsewhere
"""

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

COMPARISONS: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
OPERATORS: dict[type, tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "//"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
SPOKEN = {
    "say",
    "task",
    "advance",
    "print",
    "warn",
    "echo",
    "cast",
    "TypeVar",
}  # calls that only speak, or type
PROSE = {
    "where",
    "next_step",
    "label",
    "purpose",
    "strict",
    "encoding",
}  # keywords whose values are not judged


@dataclass(frozen=True)
class Mutant:
    """One change: bytes [start, end) of a file become `after`; the other fields tell it from all others."""

    path: str
    function: str
    code: str  # the line, stripped
    before: str
    after: str
    nth: int  # among the same changes of the same line of the same function
    number: int  # of the line
    start: int
    end: int
    lines: tuple[int, ...]  # on which a test is seen to run it
    defines: str  # the name that it is part of, where it runs at import; empty within functions

    @property
    def change(self) -> str:
        return " ".join(f"{self.before} -> {self.after}".split()) + (f" #{self.nth + 1}" if self.nth else "")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it while other lines move."""
        return self.path, self.function, self.code, self.change

    def __str__(self) -> str:
        return f"{self.path}:{self.number} {self.function or 'module'}: {self.change}\n    {self.code}"

    def rank(self, seed: int) -> str:
        """Return its place in the order of a seed, whatever other mutants there are."""
        return hashlib.sha256(f"{seed}:{self.key}".encode()).hexdigest()

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants_of(root: Path, path: str) -> list[Mutant]:
    """Return the mutants of one file, in the order of its text."""
    source = (root / path).read_bytes()
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return finder.found


def draw(root: Path, mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """Return a sample that stays the same, but for changed lines, when the code around it changes."""
    ranked = sorted(mutants, key=lambda mutant: mutant.rank(seed))
    return list(islice((mutant for mutant in ranked if _compiles(root, mutant)), count))


def _compiles(root: Path, mutant: Mutant) -> bool:
    try:
        ast.parse(mutant.apply((root / mutant.path).read_bytes()))
    except SyntaxError:
        return False
    return True


class _Finder(ast.NodeVisitor):
    """Collect mutants; what a method does not visit is left out."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source = path, source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.found: list[Mutant] = []
        self.seen: Counter[tuple[str, str, str, str]] = Counter()
        self.names: list[str] = []
        self.depth = 0  # of functions around
        self.defines = "import"
        self.statement: ast.stmt | None = None

    def at(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column

    def span(self, node: ast.expr | ast.stmt | ast.keyword) -> tuple[int, int]:
        return self.at(node.lineno, node.col_offset), self.at(node.end_lineno or 0, node.end_col_offset or 0)

    def text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def add(self, start: int, end: int, after: str) -> None:
        assert self.statement
        number = self.source.count(b"\n", 0, start) + 1
        line = self.source[self.starts[number - 1] : self.starts[number]].decode().strip()
        before = self.source[start:end].decode()
        same = (".".join(self.names), line, before, after)
        # A statement over several lines is run where it begins, or on the line itself.
        lines = tuple({number, self.statement.lineno})
        nth, defines = self.seen[same], "" if self.depth else self.defines
        self.found.append(
            Mutant(self.path, same[0], line, before, after, nth, number, start, end, lines, defines)
        )
        self.seen[same] += 1

    def replace(self, node: ast.expr | ast.stmt, after: str) -> None:
        self.add(*self.span(node), after)

    def between(self, left: ast.expr, right: ast.expr, before: str, after: str) -> None:
        """Exchange the operator that stands between two expressions, comments and brackets aside."""
        start, end = self.span(left)[1], self.span(right)[0]
        gap = re.sub(rb"#[^\n]*", lambda comment: b" " * len(comment[0]), self.source[start:end])
        pattern = r"\s+".join(map(re.escape, before.split()))
        pattern = rf"\b{pattern}\b" if before.isalpha() or " " in before else pattern
        if match := re.search(pattern.encode(), gap):
            self.add(start + match.start(), start + match.end(), after)

    # Statements

    def visit(self, node: ast.AST) -> None:
        before = self.statement
        if isinstance(node, ast.stmt):
            self.statement = node
            self.defines = _defined(node) or self.defines
        super().visit(node)
        self.statement = before

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        self.names.append(node.name)
        self.depth += 1
        for statement in node.body:
            self.visit(statement)
        self.depth -= 1
        self.names.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.names.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.names.pop()

    def visit_Import(self, node: ast.Import) -> None: ...
    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...
    def visit_Assert(self, node: ast.Assert) -> None: ...
    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if operator := OPERATORS.get(type(node.op)):
            self.between(node.target, node.value, f"{operator[0]}=", "=")
        self.visit(node.value)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not _speaks(node.value):
            self.replace(node, "pass")
        if not isinstance(node.value, ast.Constant):
            self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace(node, "pass")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self.replace(node, "return None")
            self.visit(node.value)

    def visit_Break(self, node: ast.Break) -> None:
        self.replace(node, "return")

    def visit_Continue(self, node: ast.Continue) -> None:
        self.replace(node, "break")

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.negate(node.test)
            self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    # Expressions

    def negate(self, test: ast.expr) -> None:
        if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Subscript) and not _speaks(test):
            self.replace(test, f"not {self.text(test)}")

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self.negate(test)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            self.between(left, right, *COMPARISONS[type(operator)])
            left = right
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        prose = isinstance(node.op, ast.Mod | ast.Add) and isinstance(node.left, ast.JoinedStr)
        if (operator := OPERATORS.get(type(node.op))) and not prose:
            self.between(node.left, node.right, *operator)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        before, after = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:]):
            self.between(left, right, before, after)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self.replace(node, f"({self.text(node.operand)})")
        self.visit(node.operand)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self.replace(node, str(not value))
        elif isinstance(value, int):
            self.replace(node, repr(value + 1 if value <= 100 else value * 2))
        elif isinstance(value, float):
            self.replace(node, repr(value * 2 or 1.0))
        elif isinstance(value, str) and value and not re.search(r"\s", value) and self.text(node)[0] in "\"'":
            self.replace(node, repr(f"XX{value}XX"))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id in NAMES:
            self.replace(node, NAMES[node.id])

    def visit_Call(self, node: ast.Call) -> None:
        if _speaks(node):
            return
        self.visit(node.func)
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg in PROSE:
                continue
            if keyword.arg and (len(node.args) + len(node.keywords)) > 1:
                self.drop(node, keyword)
            self.visit(keyword.value)

    def drop(self, call: ast.Call, keyword: ast.keyword) -> None:
        """Remove a keyword argument with the comma before or after it."""
        start, end = self.span(keyword)
        floor, ceiling = self.span(call.func)[1], self.span(call)[1]
        if match := re.match(rb"\s*,", self.source[end:ceiling]):
            end += match.end()
        elif match := re.search(rb",\s*$", self.source[floor:start]):
            start = floor + match.start()
        self.add(start, end, "")


def _defined(node: ast.stmt) -> str:
    """Return the first name that a statement defines, or nothing."""
    target = getattr(node, "targets", [getattr(node, "target", node)])[0]
    target = target.elts[0] if isinstance(target, ast.Tuple) else target
    return getattr(target, "id", getattr(target, "name", ""))


def _speaks(node: ast.expr) -> bool:
    """Tell whether an expression is a call whose arguments only people or type checkers read."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in SPOKEN or name.endswith(("Error", "Warning"))
