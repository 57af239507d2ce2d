"""Where our fixed rules and datatrove's agree about a thousand documents, rule by rule, and why they do not.

A difference is explained by trial: each cause is taken away, in the order of CAUSES, and the first without which both
say the same is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from benchmarks import mixture, peers
from benchmarks.evidence import table, write_evidence
from benchmarks.paths import WORK
from benchmarks.processes import run_worker
from benchmarks.workers.job import Job
from tinsmith.corpus.filters import c4, fineweb, gopher, gopher_quality
from tinsmith.corpus.filters.scan import ScannedText, scan_text
from tinsmith.corpus.rejection import Rejection
from tinsmith.recipe import C4Config, CurateConfig, FineWebConfig, GopherConfig

_PEER = "datatrove"
SETS: dict[str, tuple[str, ...]] = {
    "Gopher, quality": tuple(gopher_quality.REASONS),
    "Gopher, repetition": tuple(gopher.REPETITION),
    "C4": tuple(reason for reason in c4.REASONS if reason != "bad_words"),
    "FineWeb": tuple(fineweb.REASONS),
}
SPACE = "white space: at the ends of lines, within them, and lines of nothing else"
QUOTES = "a line may end in a curly quotation mark, or in any sentence mark before one"
BLANK = "blank lines are lines to datatrove, not to us"
MARKS = "marks of punctuation are words to datatrove, not to us"
ONCE = (
    "an n-gram that occurs once does not count as a repetition to us; "
    "of equally frequent ones the longest counts, not the first"
)
CUT = (
    "words are cut in other places: a run of one mark, such as a line to sign on, is one to us and many to spaCy, "
    "which knows web addresses and lists of exceptions"
)
SENTENCES = (
    "sentences are counted otherwise: spaCy's sentencizer cuts at any run of end marks that a space follows"
)
BREAKS = "lines also end at form feeds and other separators to datatrove"
OTHER = "unexplained"
CAUSES = (SPACE, BLANK, QUOTES, BREAKS, MARKS, ONCE, CUT, SENTENCES, OTHER)
_OFF = {
    "min_punctuated_lines": 0.0,
    "max_short_lines": 1.0,
    "max_duplicate_line_characters": 1.0,
    "max_line_breaks_per_word": 1e9,
}
_SEPARATORS = str.maketrans(dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029", "\n"))


class Verdict(NamedTuple):
    """Which rules a text breaks, and what C4's leave of it."""

    broken: frozenset[str]
    left: str
    words: tuple[str, ...] = ()


def run(*, quick: bool, pip: list[str]) -> None:
    """Write `results/rules_agreement`."""
    peers.install([_PEER], pip)
    samples = mixture.documents(share=0.1 if quick else 1.0)
    texts = [sample.text for sample in samples]
    ours, theirs = [apply_rules(text) for text in texts], _theirs(texts)
    apart = [number for number, pair in enumerate(zip(ours, theirs, strict=True)) if _differ(*pair)]
    tidied = dict(zip(apart, _theirs([tidy(texts[number]) for number in apart]), strict=True))
    straight = [straighten(tidy(texts[number])) for number in apart]
    straightened = dict(zip(apart, _theirs(straight), strict=True))
    whys: dict[str, Counter[str]] = {}
    for number in apart:
        causes = explain(texts[number], ours[number], theirs[number], tidied[number], straightened[number])
        for rule, cause in causes.items():
            whys.setdefault(rule, Counter())[cause] += 1
    facts = {
        "documents": len(texts),
        "kinds": Counter(sample.kind for sample in samples),
        "sets": {name: _agreement(rules, ours, theirs) for name, rules in SETS.items()},
        "without_marks": _agreement(
            [rule for rule in gopher_quality.REASONS if rule != "few_alphabetic_words"], ours, theirs
        ),
        "rules": {rule: _agreement([rule], ours, theirs) for rules in SETS.values() for rule in rules},
        "c4_same_text": sum(
            one.left == other.left for one, other in zip(ours, theirs, strict=True) if one.left and other.left
        ),
        "c4_kept_by_both": sum(
            bool(one.left and other.left) for one, other in zip(ours, theirs, strict=True)
        ),
        "causes": {rule: dict(found.most_common()) for rule, found in whys.items()},
    }
    name = "rules_agreement-quick" if quick else "rules_agreement"
    write_evidence(name, "Fixed rules beside datatrove's", facts, _body(facts))


def apply_rules(text: str) -> Verdict:
    """Apply each of our rules alone."""
    document, config = scan_text(text, "en"), GopherConfig()
    broken = {rejection.reason for rejection in gopher_quality.find_rejections(document, config)}
    broken |= {rejection.reason for rejection in gopher.find_repetition(document, config)}
    broken |= set(_fineweb(document))
    left = c4.filter_lines(text, C4Config())
    if isinstance(left, Rejection):
        return Verdict(frozenset({*broken, left.reason}), "")
    return Verdict(frozenset(broken), left)


def _fineweb(document: ScannedText) -> Iterable[str]:
    published = FineWebConfig()
    for reason, path in fineweb.REASONS.items():
        field = path.removeprefix("fineweb.")
        alone = FineWebConfig.model_validate(_OFF | {field: getattr(published, field)})
        if isinstance(fineweb.apply(document, CurateConfig(fineweb=alone)), Rejection):
            yield reason


def _theirs(texts: Sequence[str]) -> list[Verdict]:
    path = WORK / "rules.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(texts))
    answers = run_worker(_PEER, "rules", Job("", "", str(path), 0, 0, 0), threads=1)["answers"]
    return [
        Verdict(
            frozenset(each["broken"] + ([each["c4"]] if each["c4"] else [])),
            each["left"],
            tuple(each["words"]),
        )
        for each in answers
    ]


def _differ(ours: Verdict, theirs: Verdict) -> bool:
    return ours.broken != theirs.broken or ours.left != theirs.left


def tidy(text: str) -> str:
    """Fold white space within lines, strip them, and leave one empty line where there were blank ones."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    kept = [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]
    return "\n".join(kept).strip()


def straighten(text: str) -> str:
    """Make quotation marks straight."""
    return text.translate(str.maketrans("“”„«»‘’", '"""""\'\''))


def explain(
    text: str, ours: Verdict, theirs: Verdict, tidied: Verdict, straightened: Verdict
) -> dict[str, str]:
    """Return by rule, and for what C4 leaves, why the verdicts on a text differ."""
    found = {
        rule: _cause(rule, text, rule in ours.broken, rule in tidied.broken, theirs.words)
        for rule in ours.broken ^ theirs.broken
        if rule not in SETS["C4"]
    }
    c4_rules = (ours.broken ^ theirs.broken) & set(SETS["C4"])
    if c4_rules or ours.left != theirs.left:
        about = ", ".join(sorted(c4_rules)) or "lines left by C4"
        found[about] = _c4_cause(text, ours, tidied, straightened)
    return found


def _cause(rule: str, text: str, ours: bool, tidied: bool, words: Sequence[str]) -> str:
    if tidied == ours:
        return SPACE
    if rule in _MOST_LINES:
        return BLANK if _by_lines(rule, text) != ours else OTHER
    again = _BY_WORDS.get(rule)
    if again is None:
        return OTHER
    if again(text, words) != ours:
        return CUT
    return ONCE if rule.startswith("top_") else MARKS


def _by_lines(rule: str, text: str) -> bool:
    """Return our definition of a rule about lines, had we counted blank ones."""
    lines, (most, marks) = text.splitlines(), _MOST_LINES[rule]
    at_start = rule == "bullet_lines"
    found = sum(
        line.strip().startswith(marks) if at_start else line.strip().endswith(marks) for line in lines
    )
    return found > most * len(lines)


def _c4_cause(text: str, ours: Verdict, tidied: Verdict, straightened: Verdict) -> str:
    asked = set(SETS["C4"])

    def same(one: Verdict, other: Verdict) -> bool:
        return one.broken & asked == other.broken & asked and _flat(one.left) == _flat(other.left)

    straight = apply_rules(straighten(tidy(text)))
    if same(ours, tidied):
        return SPACE
    if same(straight, straightened):
        return QUOTES
    if same(apply_rules(straighten(tidy(text.translate(_SEPARATORS)))), straightened):
        return BREAKS
    return SENTENCES if straight.broken & asked != straightened.broken & asked else OTHER


def _flat(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.split("\n") if line.strip()]


def _spoken(words: Sequence[str]) -> list[str]:
    return [word for word in words if any(map(str.isalnum, word))]


def _mean(words: Sequence[str]) -> float:
    return sum(map(len, words)) / max(1, len(words))


def _top(n: int, most: float) -> Callable[[str, Sequence[str]], bool]:
    """Return our definition of the commonest n-gram, for words that are given."""

    def broken(text: str, words: Sequence[str]) -> bool:
        counts = Counter(" ".join(words[start : start + n]) for start in range(len(words) - n + 1))
        often = max(counts.values(), default=0)
        longest = max((len(gram) for gram, count in counts.items() if count == often), default=0)
        return often > 1 and often * longest / len(text) > most

    return broken


def _duplicate(n: int) -> Callable[[str, Sequence[str]], bool]:
    def broken(text: str, words: Sequence[str]) -> bool:
        seen: set[tuple[str, ...]] = set()
        size = place = 0
        while place < len(words) - n + 1:
            gram = tuple(words[place : place + n])
            if gram in seen:
                size, place = size + sum(map(len, gram)), place + n
            else:
                seen.add(gram)
                place += 1
        return size / len(text) > (20 - n) / 100

    return broken


def _few_alphabetic(text: str, words: Sequence[str]) -> bool:
    spoken = _spoken(words)
    return sum(any(map(str.isalpha, word)) for word in spoken) < 0.8 * len(spoken)


# Which share of lines with which marks is too much.
_MOST_LINES = {"bullet_lines": (0.9, tuple("•‣⁃◦▪▫■□●○-")), "ellipsis_lines": (0.3, ("...", "…"))}
# Our definitions in plain Python, for words that another has cut.
_BY_WORDS: dict[str, Callable[[str, Sequence[str]], bool]] = {
    "too_few_words": lambda text, words: len(_spoken(words)) < 50,
    "too_many_words": lambda text, words: len(_spoken(words)) > 100_000,
    "short_words": lambda text, words: _mean(_spoken(words)) < 3,
    "long_words": lambda text, words: _mean(_spoken(words)) > 10,
    "few_alphabetic_words": _few_alphabetic,
    "few_stop_words": lambda text, words: (
        len({"the", "be", "to", "of", "and", "that", "have", "with"} & {*words}) < 2
    ),
    "many_line_breaks": lambda text, words: text.count("\n") > 0.3 * len(words),
    "top_bigram": _top(2, 0.2),
    "top_trigram": _top(3, 0.18),
    "top_fourgram": _top(4, 0.16),
    **{f"duplicate_{n}grams": _duplicate(n) for n in range(5, 11)},
}


def _agreement(rules: Iterable[str], ours: list[Verdict], theirs: list[Verdict]) -> dict[str, int]:
    """Return how many documents break any of some rules: for both, for us alone, for datatrove alone, for none."""
    asked = set(rules)
    pairs = Counter(
        (bool(one.broken & asked), bool(other.broken & asked))
        for one, other in zip(ours, theirs, strict=True)
    )
    names = {
        "both": (True, True),
        "ours": (True, False),
        "theirs": (False, True),
        "neither": (False, False),
    }
    return {name: pairs[pair] for name, pair in names.items()}


def _row(name: str, found: dict[str, int]) -> list[object]:
    same = found["both"] + found["neither"]
    return [name, *(found[each] for each in ("both", "ours", "theirs")), f"{same / sum(found.values()):.1%}"]


def _body(facts: dict[str, Any]) -> list[str]:
    header = ["dropped by", "both", "ours alone", "theirs alone", "agreement"]
    sets = [_row(name, found) for name, found in facts["sets"].items()]
    sets.insert(1, _row("the same without few_alphabetic_words", facts["without_marks"]))
    silent = [name for name, found in facts["rules"].items() if not found["both"]]
    whys = [
        [rule, cause, count]
        for rule, causes in sorted(facts["causes"].items())
        for cause, count in causes.items()
    ]
    total = Counter[str]()
    for causes in facts["causes"].values():
        total.update(causes)
    return [
        f"{facts['documents']} documents of up to 12,000 characters, repaired as curate repairs them: filings, "
        "regulations, minutes and speeches, contracts, statutes, opinions, licences, messages, an encyclopedia, a "
        "play, and noise made of them. The same text goes to both; each rule is asked alone, with the thresholds as "
        "published (FineWeb's repeated lines: 0.1 as the paper has it; datatrove's default is 0.01). C4's list of bad "
        "words is left out.",
        "",
        *table(header, sets),
        f"Of {facts['c4_kept_by_both']} texts that C4's rules keep for both, {facts['c4_same_text']} are left with "
        "the same lines.",
        "",
        *table(["rule", *header[1:]], [_row(name, found) for name, found in facts["rules"].items()]),
        f"Rules that no document breaks for both: {', '.join(silent) or 'none'}.",
        "",
        "## Why they differ",
        "",
        "Each difference (a document and a rule) is counted under the first cause without which both agree: on text "
        "with tidy white space, with straight quotation marks, with our definition on datatrove's words. What is left "
        "where our definition on datatrove's words says what datatrove says is put down to the words.",
        "",
        *table(["cause", "differences"], [[cause, total[cause]] for cause in CAUSES if total[cause]]),
        *table(["rule", "cause", "differences"], whys),
    ]
