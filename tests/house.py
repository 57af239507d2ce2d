"""Measure what the house promises about its code and prose: `python tests/house.py` prints the figures."""

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "tinsmith"
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# docs/log/ is history and keeps its language.

MAX_PARAMETERS = 8
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 75
MAX_ANY = 20
MAX_WORDS = 25
MAX_README_BYTES = 7_500
MAX_FIRST_LINE = 110

STRING_TESTS = {
    "startswith",
    "endswith",
    "split",
    "rsplit",
    "partition",
    "rpartition",
    "removeprefix",
    "removesuffix",
}

# Words that a reader has to decode; "there is no X", "is no longer" and "is no more than" are plain.
PRIVATE = re.compile(
    r"\bforet(?:ell|old)\w*|\banew\b|\bdearly\b|\bh[au]ng(?:s|ing)? (?:on|from)\b|\bfor who\b|\bbear(?:s|eth|ing)?\b"
    r"|(?<!\bthere )\bis no (?!longer|more than|fewer than|less than)\w+|\bnobody need\b|\boftener\b",
    re.IGNORECASE,
)


# Code


def modules() -> dict[str, Path]:
    """Return dotted module name to file, for all of src."""
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        parts = path.relative_to(SOURCES.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path: Path, line: int | None = None) -> str:
    return str(path.relative_to(ROOT)) + (f":{line}" if line else "")


def nodes_at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Walk a tree, functions included, without blocks under `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for statement in child.orelse:
                yield from nodes_at_run_time(statement)
        else:
            yield from nodes_at_run_time(child)


def imports() -> dict[str, set[str]]:
    """Return which module imports which of ours, lazy imports inside functions included."""
    known = modules()
    graph: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for node in nodes_at_run_time(parse(path)):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = name if path.name == "__init__.py" else name.rpartition(".")[0]
                for _ in range(node.level - 1):
                    package = package.rpartition(".")[0]
                origin = ".".join(filter(None, (package if node.level else "", node.module or "")))
                targets = [
                    full if (full := f"{origin}.{alias.name}") in known else origin for alias in node.names
                ]
            else:
                continue
            graph[name] |= {target for target in targets if target in known and target != name}
    return graph


def import_circles() -> list[str]:
    """Return every group of modules that import each other, directly or through others."""
    graph = imports()

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in graph[waiting.pop()] - seen:
                seen.add(target)
                waiting.append(target)
        return seen

    reached = {name: reach(name) for name in graph}
    groups = {
        frozenset(other for other in reached[name] if name in reached[other])
        for name in graph
        if name in reached[name]
    }
    return sorted(" <-> ".join(sorted(group)) for group in groups)


def loose_dictionaries() -> list[str]:
    """Return where evaluate, evidence and report pass rows as dict[str, Any]."""
    return [
        place(path, number)
        for room in ("evaluate", "evidence", "report")
        for path in sorted((SOURCES / room).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for _ in re.findall(r"\bdict\[str, Any\]", line)
    ]


def metric_name_tests() -> list[str]:
    """Return calls in evaluate and report that take a metric's name apart.

    Counted: str methods of STRING_TESTS on an expression that mentions a metric, or with an argument that is a
    piece of a compound name ("loss:", ":"). Details of rejects and names of questions are not metrics.
    """
    found = []
    for room in ("evaluate", "report"):
        for path in sorted((SOURCES / room).rglob("*.py")):
            for node in ast.walk(parse(path)):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if node.func.attr not in STRING_TESTS:
                    continue
                texts = [
                    leaf.value
                    for argument in node.args
                    for leaf in ast.walk(argument)
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str)
                ]
                receiver = ast.unparse(node.func.value).lower()
                compound = any(re.fullmatch(r"\w*:\w*", text) for text in texts)
                if "metric" in receiver or (compound and not re.search(r"\b(?:detail|item)\b\W*$", receiver)):
                    found.append(f"{place(path, node.lineno)} {ast.unparse(node)}")
    return found


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in modules().values():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's parameters, self and cls left out, keyword-only ones and *args included."""
    arguments = function.args
    named = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    return sum(argument is not None and argument.arg not in ("self", "cls") for argument in named)


def crowded_functions() -> list[str]:
    return [
        f"{place(path, function.lineno)} {function.name}: {parameters(function)} parameters"
        for path, function in functions()
        if parameters(function) > MAX_PARAMETERS
    ]


def function_lengths() -> dict[str, int]:
    return {
        f"{place(path, function.lineno)} {function.name}": (function.end_lineno or 0) - function.lineno + 1
        for path, function in functions()
    }


def file_lengths() -> dict[str, int]:
    return {place(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules().values()}


def unclear_first_lines() -> list[str]:
    """Return modules whose docstring is missing or begins with a line that is too long."""
    found = []
    for path in modules().values():
        first = (ast.get_docstring(parse(path)) or "").split("\n")[0]
        if not 0 < len(first) <= MAX_FIRST_LINE:
            found.append(f"{place(path)} {len(first)} characters")
    return found


# Prose


def paragraphs(page: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of a page's lines of prose: no code, tables, headings, pictures or empty lines."""
    fenced = in_list = False
    blank = True
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("```"):
            fenced = not fenced
        elif fenced:
            continue
        elif not stripped:
            blank = True
            continue
        elif item := re.match(r"\s*(?:[-*]|\d+\.) +", line):
            in_list = True
            yield number, line[item.end() :].strip()
        elif line.startswith("    ") and (blank or not in_list):
            blank = True  # the lines of an indented block of code
            continue
        elif stripped.startswith(("|", "#", "![", "<")):
            pass
        else:
            in_list = in_list and line.startswith(" ")
            yield number, stripped
        blank = False


ABBREVIATIONS = re.compile(r"\b(?:et al|e\.g|i\.e|vs|No|Art|Sec|approx)\.$")
SENTENCE_END = re.compile(r"[.!?][\"')*_`]*(?=\s+[\"'(*_`\[]*[A-Z0-9])")


def sentences(line: str) -> list[str]:
    """Split a line of prose where a full stop, ! or ? is followed by the beginning of a sentence."""
    found, start = [], 0
    for end in SENTENCE_END.finditer(line):
        if not ABBREVIATIONS.search(line[: end.start() + 1]):
            found.append(line[start : end.end()].strip())
            start = end.end()
    return [*found, line[start:].strip()]


def words(sentence: str) -> int:
    """Count words; a code span or a link's text counts by its visible words, an address not at all."""
    visible = re.sub(r"\]\([^)]*\)", "]", sentence)
    visible = re.sub(r"`[^`]*`", "code", visible)
    return sum(any(character.isalnum() for character in word) for word in visible.split())


def sentence_lengths(page: Path) -> dict[str, int]:
    return {
        f"{place(page, number)} {sentence}": words(sentence)
        for number, line in paragraphs(page)
        for sentence in sentences(line)
    }


def percentile(values: list[int], share: float) -> int:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] if values else 0


def broken_lines(page: Path) -> list[str]:
    """Return lines that hold two sentences, and lines whose sentence runs on in the next line."""
    found = []
    lines = list(paragraphs(page))
    raw = page.read_text(encoding="utf-8").splitlines()
    for position, (number, line) in enumerate(lines):
        if len(sentences(line)) > 1:
            found.append(f"{place(page, number)} several sentences: {line[:70]}")
        following = lines[position + 1] if position + 1 < len(lines) else None
        runs_on = (
            following and following[0] == number + 1 and not re.match(r"\s*(?:[-*]|\d+\.) ", raw[number])
        )
        if runs_on and not re.search(r"[.!?:][\"')*_`]*$", line):
            found.append(f"{place(page, number)} runs on: {line[-70:]}")
    return found


def private_words(files: list[Path]) -> list[str]:
    return [
        f"{place(path, number)} {match.group()!r} in: {line.strip()[:100]}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in PRIVATE.finditer(line)
    ]


def source_texts() -> list[Path]:
    return sorted(path for ending in ("py", "html", "toml", "js") for path in SOURCES.rglob(f"*.{ending}"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def broken_links() -> list[str]:
    found = []
    for page in [*PAGES, *sorted((ROOT / "docs").rglob("log/*.md"))]:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
                if re.match(r"\w+:", target):
                    continue
                file, _, anchor = target.partition("#")
                linked = (page.parent / file).resolve() if file else page
                if not linked.exists() or (anchor and anchor not in anchors(linked)):
                    found.append(f"{place(page, number)} {target}")
    return found


def by_room(offenders: list[str]) -> str:
    """Count offenders of src by room, for a short summary."""
    rooms: dict[str, int] = defaultdict(int)
    for offender in offenders:
        parts = offender.split(":")[0].split("/")
        rooms[parts[2] if parts[0] == "src" and len(parts) > 2 else parts[-1]] += 1
    return ", ".join(f"{room} {count}" for room, count in sorted(rooms.items(), key=lambda item: -item[1]))


def figures() -> list[tuple[str, int, int | str]]:
    """Return the name, the value and the limit of everything measured."""
    lengths = {key: value for page in PAGES for key, value in sentence_lengths(page).items()}
    rows: list[tuple[str, int, int | str]] = [
        ("circles of imports, lazy ones counted", len(import_circles()), 0),
        ("dict[str, Any] in evaluate, evidence, report", len(loose_dictionaries()), MAX_ANY),
        ("string tests on metric names in evaluate, report", len(metric_name_tests()), 0),
        ("functions with more than 8 parameters", len(crowded_functions()), 0),
        ("lines of the longest file in src", max(file_lengths().values()), MAX_FILE_LINES),
        ("lines of the longest function in src", max(function_lengths().values()), MAX_FUNCTION_LINES),
        ("lines of src", sum(file_lengths().values()), "-"),
        ("modules without a clear first line", len(unclear_first_lines()), 0),
        ("private words in src", len(private_words(source_texts())), 0),
        ("private words in pages", len(private_words(PAGES)), 0),
        ("words of a sentence in pages, 90th percentile", percentile(list(lengths.values()), 0.9), MAX_WORDS),
        ("lines that are not one sentence", sum(len(broken_lines(page)) for page in PAGES), 0),
        ("bytes of README.md", (ROOT / "README.md").stat().st_size, MAX_README_BYTES),
        ("links that lead nowhere", len(broken_links()), 0),
    ]
    return rows


def main() -> None:
    for name, value, limit in figures():
        print(
            f"{name:52} {value:>7,}   limit {limit:,}" if isinstance(limit, int) else f"{name:52} {value:>7,}"
        )
    print("private words by room:", by_room(private_words(source_texts())) or "none")
    if "-v" in sys.argv:
        for check in (import_circles, metric_name_tests, crowded_functions, broken_links):
            print(f"\n{check.__name__}", *check(), sep="\n  ")
        print("\nprivate words", *private_words([*source_texts(), *PAGES]), sep="\n  ")


if __name__ == "__main__":
    main()
