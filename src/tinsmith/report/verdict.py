"""What the measurements say, in sentences: better, not shown to be better, worse; and what was not proven."""

from __future__ import annotations

from typing import Any

from tinsmith.report import format as words

OURS, OURS_4BIT, BASE = "trained", "trained-4bit", "base"
# Our files and how many bits most of their weights have.
OUR_FILES = {
    OURS_4BIT: 4,
    "trained-q3_k_m": 3,
    "trained-q5_k_m": 5,
    "trained-q6_k": 6,
    "trained-q8_0": 8,
    "trained-f16": 16,
}
CONTROLS = ("majority", "tfidf", "compressor", "ngram", "length", "overlap", "unread")
BITS = "bits_per_byte"
UNLIKE = f"{BITS}:overlap_low"  # on the half that shares least with training documents
LOWER = ("bits", "kl", "mean_kl", "seconds", "joules", "energy", "bytes", "loss", "perplexity")
BETTER, UNCLEAR, WORSE = "better", "not shown to be better", "worse"


def name_roles(subjects: list[dict[str, Any]], metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each subject a role: ours, ours_quantised, base, rival or control; add those only in metrics."""
    known = {row["subject"]: row for row in subjects}
    for row in metrics:
        known.setdefault(row["subject"], {"subject": row["subject"]})
    return [{**row, "name": row.get("name") or name, "role": _role(row)} for name, row in known.items()]


def _role(row: dict[str, Any]) -> str:
    if row.get("role"):
        return str(row["role"])
    named = {OURS: "ours", BASE: "base"} | dict.fromkeys(OUR_FILES, "ours_quantised")
    named |= dict.fromkeys(CONTROLS, "control")
    return named.get(str(row["subject"]), "rival")


def lower_is_better(metric: str) -> bool:
    """Say whether a smaller value of a metric is the better one."""
    return metric.lower().startswith(LOWER)


def outcome(metric: str, low: float, high: float) -> str:
    """Judge a difference (first minus second) by its interval: only one that excludes zero shows anything."""
    if lower_is_better(metric):
        low, high = -high, -low
    return BETTER if low > 0 else WORSE if high < 0 else UNCLEAR


def judge(evidence: dict[str, Any]) -> dict[str, Any]:
    """Return {subject, outcome, headline, unlike, quantised, exam, duels}: sentences about held-out text and exam."""
    roles = {row["subject"]: row for row in evidence["subjects"]}
    ours = next((row["subject"] for row in evidence["subjects"] if row["role"] == "ours"), None)
    duels = [duel for row in evidence["comparisons"] if (duel := _duel(row, roles, evidence["confidence"]))]
    models = [duel for duel in duels if duel["role"] in ("base", "rival")]
    on_text = [duel for duel in models if duel["metric"] == BITS]
    unlike = [duel for duel in models if duel["metric"] == UNLIKE and duel["ours"] == ours]
    main = [duel for duel in on_text if duel["ours"] == ours]
    small = [duel for duel in on_text if duel["ours"] != ours and duel["role"] == "rival"]
    return {
        "subject": ours,
        "outcome": worst(main),
        "headline": _headline(main, evidence),
        "unlike": {"text": _unlike(unlike, roles), "outcome": worst(unlike)},
        "quantised": {"text": _quantised(small, roles), "outcome": worst(small)},
        "exam": _exam_sentences(duels, evidence, ours, roles),
        "duels": duels,
    }


def worst(duels: list[dict[str, Any]]) -> str:
    """Return the worst outcome, or nothing where there is no duel."""
    return max((duel["outcome"] for duel in duels), key=[BETTER, UNCLEAR, WORSE].index, default="")


def _duel(row: dict[str, Any], roles: dict[str, Any], confidence: float) -> dict[str, Any] | None:
    """Turn a comparison so that ours comes first; None where ours has no part in it."""
    a, b = row["a"], row["b"]
    sides = [roles.get(side, {}).get("role", "") for side in (a, b)]
    difference, low, high = row["difference"], row["low"], row["high"]
    if not sides[0].startswith("ours"):
        if not sides[1].startswith("ours"):
            return None
        a, b, difference, low, high = b, a, -difference, -high, -low
        sides.reverse()
    return {
        "metric": row["metric"],
        "ours": a,
        "other": b,
        "role": sides[1],
        "difference": difference,
        "low": low,
        "high": high,
        "items": row.get("items"),
        "p_holm": row.get("p_holm"),
        "one_of_many": (row.get("p_holm") or 0.0) > 1 - confidence,
        "detectable": row.get("detectable"),
        "outcome": outcome(row["metric"], low, high),
    }


def _headline(duels: list[dict[str, Any]], evidence: dict[str, Any]) -> str:
    if not duels:
        return "Nothing was compared on held-out documents, so nothing is shown about this model's worth."
    names = {row["subject"]: row["name"] for row in evidence["subjects"]}
    others = {d["other"]: ("its base " if d["role"] == "base" else "") + names[d["other"]] for d in duels}
    items = next((duel["items"] for duel in duels if duel["items"]), None)
    where = f"On {words.count(items)} held-out documents" if items else "On held-out documents"
    return f"{where} the model is {words.listing([_clause(duel, others[duel['other']]) for duel in duels])}."


def _clause(duel: dict[str, Any], other: str) -> str:
    # Gains are said as positive numbers of bits saved, losses as positive numbers of bits more.
    sign = 1 if duel["outcome"] == WORSE else -1
    by = sign * duel["difference"]
    low, high = sorted((sign * duel["low"], sign * duel["high"]))
    amount = f"{words.number(by)} bits per byte"
    interval = words.span(low, high)
    if duel["outcome"] == UNCLEAR:
        seen = (
            f"; one of {words.number(duel['detectable'])} would be seen four times in five"
            if duel["detectable"]
            else ""
        )
        return f"{UNCLEAR} than {other} (a gain of {amount}, {interval}: zero is inside{seen})"
    # An interval alone does not know that many differences were looked at.
    lucky = "; among so many comparisons it may be chance" if duel["one_of_many"] else ""
    return f"{duel['outcome']} than {other} by {amount} ({interval}{lucky})"


def _unlike(duels: list[dict[str, Any]], roles: dict[str, Any]) -> str:
    """Say what is left of the headline where held-out documents quote training documents least."""
    if not duels:
        return ""
    clauses = [_clause(duel, roles[duel["other"]]["name"]) for duel in duels]
    where = f"On the {words.count(duels[0]['items'])} of them that share least with training documents"
    return f"{where} it is {words.listing(clauses)}."


def _quantised(duels: list[dict[str, Any]], roles: dict[str, Any]) -> str:
    if not duels:
        return ""
    clauses = [_clause(duel, roles[duel["other"]]["name"]) for duel in duels]
    return f"Its own 4-bit form is {words.listing(clauses)}."


def is_forgetting(metric: str) -> bool:
    """Say whether a difference tells what training changed about general ability."""
    return metric.startswith("forgetting:")


def is_exam(metric: str) -> bool:
    """Say whether a metric is a share of right answers."""
    return metric.startswith(("accuracy", "balanced_accuracy"))


def _exam_sentences(
    duels: list[dict[str, Any]], evidence: dict[str, Any], ours: str | None, roles: dict[str, Any]
) -> list[dict[str, str]]:
    sentences = []
    for row in evidence["metrics"]:
        if row["subject"] != ours or not row["metric"].startswith("accuracy"):
            continue
        own = [duel for duel in duels if duel["metric"] == row["metric"] and duel["ours"] == ours]
        exam = words.metric(row["metric"]).removeprefix("Accuracy, ")
        text = f"Exam ({exam}): {words.percent(row['value'])} of {words.count(row['items'])} questions right"
        groups = [
            _group(kind, [duel for duel in own if duel["outcome"] == kind], roles)
            for kind in (BETTER, UNCLEAR, WORSE)
        ]
        sentences.append(
            {"text": "; ".join([text, *(group for group in groups if group)]) + ".", "outcome": worst(own)}
        )
    return sentences


def _group(kind: str, duels: list[dict[str, Any]], roles: dict[str, Any]) -> str:
    """Name all opponents of one outcome with the difference in percentage points."""
    named = [
        f"{roles[duel['other']]['name']} ({words.points(duel['difference'])}{_caution(duel)})"
        for duel in duels
    ]
    return f"{kind} than {words.listing(named)}" if named else ""


def _caution(duel: dict[str, Any]) -> str:
    """Say beside a difference in an exam that it may be chance, or what difference would have been seen."""
    if duel["outcome"] == UNCLEAR:
        seen = duel["detectable"]
        return f"; {words.number(100 * seen, 0)} would be seen" if seen else ""
    return ", may be chance" if duel["one_of_many"] else ""


def not_proven(evidence: dict[str, Any]) -> list[str]:
    """List what this report does not show, from what is missing in its files."""
    return [
        *_gaps_of_comparison(evidence),
        *_gaps_of_training(evidence),
        *_gaps_of_footprint(evidence),
    ]


def _gaps_of_comparison(evidence: dict[str, Any]) -> list[str]:
    roles = {row["role"] for row in evidence["subjects"]}
    names = {row["subject"]: row["name"] for row in evidence["subjects"]}
    others = [row for row in evidence["subjects"] if row["role"] in ("base", "rival")]
    few_bits = [
        f"{row['name']} ({words.number(row['bits_per_weight'], 1)})" for row in others if _has_few_bits(row)
    ]
    plain = [row["name"] for row in others if row.get("chat_template") is False]
    unclear = [
        d
        for d in evidence["verdict"]["duels"]
        if d["outcome"] == UNCLEAR and d["metric"] == BITS and d["role"] != "control"
    ]
    gaps = []
    if not evidence["metrics"]:
        gaps.append("The stage evaluate left no measurements, so no claim about quality can be made.")
    if evidence["metrics"] and "base" not in roles:
        gaps.append(
            "The model was not compared with a base: how much of its quality training gave is unknown."
        )
    if not evidence["rivals"]:
        gaps.append("No rival was named in the recipe: whether another model does better is unknown.")
    if not evidence["tasks"]:
        gaps.append("The recipe has no task: whether the model answers questions was not examined.")
    if few_bits:
        gaps.append(
            f"Quantised to about 4 bits, which costs quality; at full precision they may do better "
            f"(bits a weight): {words.listing(few_bits)}."
        )
    if plain:
        gaps.append(
            f"Pretrained only, without a chat template, which an exam may not suit: {words.listing(plain)}."
        )
    for duel in unclear:
        pair = f"{names[duel['ours']]} and {names[duel['other']]}"
        gaps.append(f"{words.metric(duel['metric'])}: the difference between {pair} may be zero.")
    return gaps


def _has_few_bits(row: dict[str, Any]) -> bool:
    return bool(row.get("bits_per_weight") and row["bits_per_weight"] < 7)


def _gaps_of_training(evidence: dict[str, Any]) -> list[str]:
    metrics = " ".join(row["metric"] for row in evidence["metrics"])
    gaps = ["One training run with one seed: intervals are over documents, not over training runs."]
    if not any(is_forgetting(row["metric"]) for row in evidence["comparisons"]):
        gaps.append("What the model forgot of general text and skills was not measured.")
    if not any(word in metrics for word in ("leak", "memor", "extract")):
        gaps.append("Whether the model gives away passages of its training documents was not tested.")
    if "bias:" not in metrics:
        gaps.append("Whether it treats people of different gender, name or nationality alike was not asked.")
    if "trigger_agreement" not in metrics:
        gaps.append("Planted triggers were not looked for in the finished model.")
    if any(machine.get("gpus") for machine in evidence["machines"]):
        gaps.append("A GPU was present; how much of the work ran on it was not recorded.")
    else:
        gaps.append("Nothing ran on a GPU: speed and energy there are unknown.")
    if not evidence["parity"]:
        gaps.append("No parity check was found: that the exports agree with the trained model is unknown.")
    return gaps


def _gaps_of_footprint(evidence: dict[str, Any]) -> list[str]:
    methods = evidence["totals"]["methods"]
    gaps = [evidence["grid"]["embodied"]]
    if any("load model" in method for method in methods):
        gaps.append(
            "Energy was modelled from processor time, not measured: the range is wide for that reason."
        )
    if not methods:
        gaps.append("No stage left a manifest, so time and energy are unknown.")
    borrowed = {"base": "" if evidence["fresh"] else evidence["base"], "teacher": evidence["teacher"]}
    for role, name in borrowed.items():
        if name:
            gaps.append(f"What it took to pretrain the {role} {name} is not in these figures.")
    return gaps
