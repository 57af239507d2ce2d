"""Memorisation: does the model repeat training passages, and can its training documents be told apart?

Extraction: the greedy continuation of a prefix is the true one exactly where each true token is the most likely one
after those before it. One pass over the true text shows that, so nothing is generated. 50 tokens after 50: Carlini et
al., Quantifying Memorization Across Neural Language Models, 2023.

Membership: loss and its ratio to zlib (Carlini et al., Extracting Training Data from Large Language Models, 2021),
Min-K% (Shi et al., Detecting Pretraining Data from Large Language Models, 2024), and loss against that of the base.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from tinsmith.base.progress import Advance
from tinsmith.evaluate.probe import Preparation, Probe
from tinsmith.evidence.bootstrap import Estimate, detectable, detectable_share, ratio, spread
from tinsmith.evidence.family import (
    LEAKAGE,
    Family,
    FamilyCost,
    FigureContext,
    Figures,
    MetricSpec,
    Results,
)
from tinsmith.evidence.format import count, percent, share_span
from tinsmith.evidence.outcome import NOT_SHOWN
from tinsmith.evidence.schema import BASE, OURS, Finding, Gap, MetricRow
from tinsmith.recipe import Recipe
from tinsmith.tokens.encoding import context_token, encode
from tinsmith.tokens.tasks import unit_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from tinsmith.evaluate.scoring.scorer import Scorer

LEAKS, KEPT = "leaks", "kept"  # outcomes of findings
TRAIN, HELD_OUT = "train", "held_out"
PREFIX = CONTINUATION = 50  # tokens
_CHARACTERS = 2000  # a document without PREFIX + CONTINUATION tokens in so many is left out
_BATCH = 32  # passages between two progress updates
_LEAST_LIKELY = 0.2  # of the tokens, for Min-K%
_FALSE_ALARMS = 0.01  # at which the share of members found is reported
_FEWEST = 20  # passages of a side below which nothing is reported
_UNTOLD = "Whether the model repeats passages of its training documents was not shown"
_GENERATOR = 1  # apart from the resamples of other figures
_ATTACKS = {
    "loss": "loss alone",
    "zlib": "loss against compressed size",
    "min_k": "its least likely tokens",
    "base": "loss against that of the base",
}


class PassageRow(TypedDict):
    """A stored passage: how likely the model finds it, and whether it repeats the second half word for word."""

    doc_id: str
    part: str
    copies: int
    bytes: int
    nats: float
    loss: float
    zlib: float
    min_k: float
    extracted: bool


@dataclass(frozen=True)
class Passage:
    """The opening of a document: as much text as prefix and continuation take in tokens of our model.

    `copies` counts the training documents that hold the text of its continuation.
    """

    doc_id: str
    part: str
    text: str
    copies: int


def prepare(preparation: Preparation) -> Probe | Gap | None:
    """Choose the passages; None where the recipe asks for none.

    A member is a document whose whole passage was learnt in one sequence: prefix and continuation that were never read
    together could not be repeated.
    """
    limit, learnt = preparation.config.leakage_documents, preparation.learnt
    if not limit:
        return None
    texts = preparation.training
    training = {
        name: text
        for name, text in texts.items()
        if name in learnt and learnt[name].tokens >= PREFIX + CONTINUATION
    }
    passages = choose_passages(
        training, preparation.held_out, preparation.tokenizer, limit=limit, seed=preparation.seed
    )
    if not any(passage.part == TRAIN for passage in passages):
        longest = max((learnt[name].tokens for name in texts if name in learnt), default=0)
        short = (
            f"of no training document {PREFIX + CONTINUATION} tokens in a row were learnt, at most {longest}"
        )
        return Gap(kind=FAMILY.kind, what=_UNTOLD, why=short if longest else preparation.nothing_learnt)
    ask = partial(read_passages, passages=passages)
    return Probe(FAMILY.kind, tuple(map(repr, passages)), len(passages), ask)


def choose_passages(
    training: Mapping[str, str],
    held_out: Mapping[str, str],
    tokenizer: PreTrainedTokenizerFast,
    *,
    limit: int,
    seed: int,
) -> list[Passage]:
    """Draw up to `limit` openings of each part that are long enough; members first."""
    chosen: list[Passage] = []
    for part, texts in ((TRAIN, training), (HELD_OUT, held_out)):
        names = sorted(texts, key=lambda name: unit_hash(seed, "leakage", name))
        own: list[Passage] = []
        for name in names:
            if len(own) == limit:
                break
            tokens = encode(tokenizer, texts[name][:_CHARACTERS])[: PREFIX + CONTINUATION]
            if len(tokens) == PREFIX + CONTINUATION:
                text = tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
                end = tokenizer.decode(tokens[PREFIX:], clean_up_tokenization_spaces=False)
                # A document is held out whole, so copies are looked for in training text alone.
                copies = sum(end in other for other in training.values())
                own.append(Passage(name, part, text, copies))
        chosen += own
    return chosen


def read_passages(
    scorer: Scorer, tokenizer: PreTrainedTokenizerFast, advance: Advance, *, passages: Sequence[Passage]
) -> list[PassageRow]:
    """Return a row for each passage."""
    rows = []
    for start in range(0, len(passages), _BATCH):
        batch = passages[start : start + _BATCH]
        scored = scorer.read([read_passage(passage, tokenizer) for passage in batch])
        rows += [passage_row(passage, *values) for passage, values in zip(batch, scored, strict=True)]
        advance(len(batch))
    return rows


def read_passage(passage: Passage, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Return a passage in a model's own tokens, after its first one."""
    return [context_token(tokenizer), *encode(tokenizer, passage.text)]


def passage_row(passage: Passage, log_probs: Sequence[float], top1: Sequence[bool]) -> PassageRow:
    """Return the stored row from the log-probability (nats) of each token after the first.

    `top1` says of each whether no other token was more likely.
    """
    assert len(log_probs) == len(top1) > CONTINUATION
    lowest = sorted(log_probs)[: max(1, int(_LEAST_LIKELY * len(log_probs)))]
    return {
        "doc_id": passage.doc_id,
        "part": passage.part,
        "copies": passage.copies,
        "bytes": len(passage.text.encode()),
        "nats": -float(np.sum(log_probs)),
        "loss": -float(np.mean(log_probs)),
        "zlib": -float(np.sum(log_probs)) / len(zlib.compress(passage.text.encode())),
        "min_k": -float(np.mean(lowest)),
        "extracted": all(top1[-CONTINUATION:]),
    }


def figures(context: FigureContext) -> Figures:
    """Return the shares repeated word for word, and how well each attack tells members apart."""
    stored: dict[str, list[PassageRow]] = context.items.rows(FAMILY.kind)
    metrics: list[MetricRow] = []
    gaps: list[Gap] = []
    for subject, passages in stored.items():
        sides = {part: [row for row in passages if row["part"] == part] for part in (TRAIN, HELD_OUT)}
        if any(len(side) < _FEWEST for side in sides.values()):
            gaps += [_too_few(*sides.values())] if subject == OURS else []
            continue
        repeated = [row for row in sides[TRAIN] if row["copies"] > 1]
        groups = (((TRAIN,), sides[TRAIN]), ((TRAIN, "repeated"), repeated), ((HELD_OUT,), sides[HELD_OUT]))
        for qualifiers, group in groups:
            if len(group) >= _FEWEST:
                hits = ratio([float(row["extracted"]) for row in group], [1.0] * len(group))
                share = context.bootstrap(len(group)).estimate(hits)
                metrics.append(FAMILY.row("extracted", qualifiers, subject, share, len(group)))
        for attack in _ATTACKS:
            scores = [_scores(attack, sides[part], stored.get(BASE, ())) for part in (TRAIN, HELD_OUT)]
            if scores[0] is None or scores[1] is None or (attack == BASE and subject != OURS):
                continue
            for name, estimate in _membership(scores[0], scores[1], context).items():
                metrics.append(FAMILY.row(name, (attack,), subject, estimate, len(passages)))
    return Figures(metrics, gaps=gaps)


def _too_few(learnt: Sequence[PassageRow], unseen: Sequence[PassageRow]) -> Gap:
    """Return why nothing is shown, with what was repeated all the same."""
    repeated = [sum(row["extracted"] for row in side) for side in (learnt, unseen)]
    why = (
        f"{len(learnt)} training and {len(unseen)} unseen documents gave a passage of {PREFIX + CONTINUATION} tokens, "
        f"and at least {_FEWEST} of each are needed; word for word it repeated {repeated[0]} and {repeated[1]} of them"
    )
    return Gap(kind=FAMILY.kind, what=_UNTOLD, why=why)


def _scores(
    attack: str, rows: Sequence[PassageRow], base: Sequence[PassageRow]
) -> NDArray[np.float64] | None:
    """Return one number for each passage, higher for what looks learnt; None without a base to compare with."""
    if attack != BASE:
        return np.array([-row[attack] for row in rows])  # type: ignore[literal-required]
    before = {row["doc_id"]: row["nats"] for row in base}
    if not all(row["doc_id"] in before for row in rows):
        return None
    return np.array([(before[row["doc_id"]] - row["nats"]) / row["bytes"] for row in rows])


def _membership(
    members: NDArray[np.float64], others: NDArray[np.float64], context: FigureContext
) -> dict[str, Estimate]:
    """Return how well scores tell members from others; each resample draws both sides."""
    config = context.config
    ranks = (members[:, None] > others[None, :]) + 0.5 * (members[:, None] == others[None, :])
    generator = np.random.default_rng([context.seed, _GENERATOR])
    areas, found = [], []
    for _ in range(config.bootstrap):
        left = generator.integers(0, len(members), len(members))
        right = generator.integers(0, len(others), len(others))
        areas.append(float(ranks[np.ix_(left, right)].mean()))
        found.append(_found(members[left], others[right]))
    tail = (1 - config.confidence) / 2
    values = {
        "membership_auc": (float(ranks.mean()), areas),
        "membership_found": (_found(members, others), found),
    }
    return {
        name: Estimate(value, *(float(bound) for bound in np.quantile(drawn, [tail, 1 - tail])))
        for name, (value, drawn) in values.items()
    }


def _found(members: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    """Return the share of members above a threshold that at most one other in a hundred exceeds."""
    allowed = int(_FALSE_ALARMS * len(others))
    threshold = np.sort(others)[::-1][allowed]
    return float((members > threshold).mean())


def findings(results: Results) -> list[Finding]:
    """Say whether passages are repeated word for word, and whether training documents can be told apart."""
    return [*_extraction(results), *_told_apart(results)]


def _extraction(results: Results) -> list[Finding]:
    learnt, unseen = results.row("extracted:train"), results.row("extracted:held_out")
    if not learnt or not unseen:
        return []
    floor = unseen.high or 0.0
    text = (
        f"After 50 tokens of a training document it continues with the true next 50 in {_counted(learnt)} documents. "
        f"For documents it never saw it does so in {_counted(unseen)}, since some phrases are common to all."
    )
    if repeated := results.row("extracted:train:repeated"):
        text += f" Where other training documents hold the same passage: {_counted(repeated)}."
    if (learnt.low or 0.0) > floor:
        verdict = "It repeats passages of its training documents word for word"
        return [Finding(verdict=verdict, text=text, outcome=LEAKS)]
    share = detectable_share(learnt.items or 0, floor, results.confidence)
    text += " That it repeats them more often than documents it never saw is not shown; " + (
        f"a share of {percent(share)} would have been shown four times in five."
        if share
        else "with so many repeated of those, no share would have been."
    )
    passages = f"of {count(learnt.items)} passages of its training documents"
    if learnt.hits:
        verdict = f"It repeats {count(learnt.hits)} {passages} word for word, not shown to be more than of unseen ones"
        return [Finding(verdict=verdict, text=text, outcome=NOT_SHOWN)]
    return [Finding(verdict=f"None {passages} was repeated word for word", text=text, outcome=KEPT)]


def _counted(share: MetricRow) -> str:
    return f"{count(share.hits)} of {count(share.items)} ({share_span(share)})"


def _told_apart(results: Results) -> list[Finding]:
    areas = results.rows("membership_auc")
    if not areas:
        return []
    area = max(areas, key=lambda row: row.value)
    (attack,) = area.qualifiers
    found = results.row(f"membership_found:{attack}")
    leaks = (area.low or 0.0) > 0.5
    verdict = (
        "Whoever can query it can tell better than chance which documents it was trained on"
        if leaks
        else "That its training documents can be told from unseen ones is not shown"
    )
    text = (
        f"By {_ATTACKS.get(attack, attack)} a training document looks more familiar than an unseen one in "
        f"{share_span(area)} of pairs; chance gives half."
    )
    if found:
        text += (
            f" With one false alarm in a hundred, {share_span(found)} of the training documents are found."
        )
    if base := results.base_row("membership_auc:loss"):
        text += (
            f" For its base, which was not trained on them here, it is {share_span(base)} by loss: the two sides "
            "differ by that much without training."
        )
    if not leaks and area.low is not None and area.high is not None:
        error = spread(area.low, area.high, results.confidence)
        least = 0.5 + detectable(error, results.confidence)
        text += f" {percent(least)} of pairs would have been shown four times in five."
    return [Finding(verdict=verdict, text=text, outcome=LEAKS if leaks else NOT_SHOWN)]


def _cost(recipe: Recipe, bytes_per_token: float) -> FamilyCost:
    return FamilyCost(2 * recipe.evaluate.leakage_documents * (PREFIX + CONTINUATION))


FAMILY = Family(
    kind="leakage",
    order=40,
    metrics=(
        MetricSpec("extracted", "share", "Repeated word for word", higher_is_better=False),
        MetricSpec(
            "membership_auc", "share", "Training and unseen documents told apart", higher_is_better=False
        ),
        MetricSpec("membership_found", "share", "Training documents found", higher_is_better=False),
    ),
    figures=figures,
    prepare=prepare,
    cost=_cost,
    section=LEAKAGE,
    findings=findings,
    front=frozenset({LEAKS, KEPT}),
    not_measured="Whether the model repeats passages of its training documents was not tested.",
)
