"""The stage *evaluate*: our model, its base, the rivals and cheap controls on held-out documents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import read_json, read_jsonl, sha256_json, write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.evaluate import baselines as controls
from tinsmith.evaluate import shortcuts
from tinsmith.evaluate.audits import Audit, audit_rows
from tinsmith.evaluate.bootstrap import Bootstrap, ratio, require_interval
from tinsmith.evaluate.bounds import judge_bounds, refuse_outside
from tinsmith.evaluate.families import multiple_choice as exam
from tinsmith.evaluate.families.backdoor_search import scan
from tinsmith.evaluate.families.bias import choose_pairs, score_pairs
from tinsmith.evaluate.families.bits import TREATMENT, Document, choose_documents, restorable
from tinsmith.evaluate.families.canaries import score_canaries
from tinsmith.evaluate.families.general import Asked, choose_general, measure_general
from tinsmith.evaluate.families.passages import choose_passages, read_passages
from tinsmith.evaluate.families.pii_extraction import ask_back
from tinsmith.evaluate.families.quantization import build_ladder
from tinsmith.evaluate.families.speed import measure_speed, speed_rows
from tinsmith.evaluate.items import (
    BASE,
    CLOZE,
    FORMATS,
    NEXT_PASSAGE,
    OURS,
    OURS_4BIT,
    Item,
    Measured,
    has_classes,
    item_row,
)
from tinsmith.evaluate.metrics import control_rows, tabulate
from tinsmith.evaluate.models import (
    Precision,
    Subject,
    describe,
    find_subjects,
    notes_on,
    open_tokenizer,
    scoring_precision,
    unscored,
)
from tinsmith.evaluate.own_questions import read_own_questions
from tinsmith.evaluate.preflight import check_files, check_room
from tinsmith.evaluate.questions import build_cloze, build_next_passage
from tinsmith.evaluate.run import Work, drop_others, measure
from tinsmith.meter.energy import EnergyMeter
from tinsmith.recipe import EXAMPLE_FILES, EvaluateConfig, MeterConfig, ModelConfig, TaskConfig
from tinsmith.serve.runtime import LlamaServer
from tinsmith.stages.evaluate.answers import answer_in_words
from tinsmith.stages.evaluate.redacted_values import find_originals
from tinsmith.tokens.canaries import Canary

SPEED_PROMPTS, SPEED_PROMPT_CHARACTERS = 3, 300
_TRIGGER_OPENINGS = 24
_BIGGER = set(FORMATS.values()) - {OURS_4BIT}  # of our files; in words the smallest answers


@dataclass(frozen=True)
class _Corpus:
    held_out: dict[str, str]
    overlaps: dict[str, float]
    training: dict[str, str]


def evaluate(
    config: EvaluateConfig,
    *,
    model: ModelConfig,
    tasks: tuple[TaskConfig, ...],
    meter: MeterConfig,
    ingest: Path,
    split: Path,
    refine: Path,
    tokenize: Path,
    train: Path,
    package: Path,
    seed: int,
    out: Path,
    progress: Progress,
) -> dict[str, float]:
    """Measure all subjects on the same held-out documents; write `metrics.json` and every item."""
    subjects = find_subjects(config, model, package)
    for subject in subjects:
        check_files(subject)
    corpus = _read_corpus(split, refine)
    tokenizers = {subject.subject: open_tokenizer(subject) for subject in subjects}
    drawn = choose_documents(
        corpus.held_out, corpus.overlaps, documents=config.documents, characters=config.characters, seed=seed
    )
    _enough(drawn, "be scored")
    documents = restorable(drawn, tokenizers)
    _enough(documents, "be restored by the tokenizer of every subject")
    asked = _build(config, documents, corpus, seed) | read_own_questions(config.questions)
    examples = (
        exam.read_items(read_jsonl(tokenize / "shots.jsonl"), where="tokenize/shots.jsonl") if tasks else []
    )
    work = _plan(config, tasks, documents, examples, asked, tokenize, seed)
    learnt = _learnt(tokenize, train)
    audits = _audits(config, work, learnt, corpus, tokenizers[OURS], ingest, refine, tokenize, seed)
    precision = scoring_precision(config.precision)
    work = replace(work, audits=tuple(audits), precision=precision)
    for subject in subjects:
        check_room(subject, tokenizers[subject.subject], work)
    items = out / "items"
    drop_others(items, list(tokenizers))
    write_jsonl(items / "questions.jsonl", map(asdict, itertools.chain.from_iterable(work.exams.values())))
    bootstrap = Bootstrap(len(documents), resamples=config.bootstrap, confidence=config.confidence, seed=seed)
    measured: dict[str, Measured] = {}
    for subject in subjects:
        measured[subject.subject] = measure(
            subject, tokenizers[subject.subject], work, items=items, progress=progress
        )
        # After the first subject, so that an interval too wide is said before the others are scored.
        _check_interval(measured[subject.subject], bootstrap, config)
    measured |= _general(
        subjects, measured, tokenizers, choose_general(config, seed), items, progress, precision
    )
    progress.say("  controls: compressor, n-gram, majority, TF-IDF")
    measured |= _control(list(corpus.training.values()), work, examples, items, seed)
    rows = [describe(subject, tokenizers[subject.subject]) for subject in subjects]
    table = tabulate(measured, work.shots, bootstrap, config)
    speeds = _speeds(config, meter, subjects, package, documents, items, progress)
    notes = [*_notes(config, measured, len(drawn) - len(documents)), *notes_on(rows, precision)]
    notes += unscored(config, package)
    result = {**table, "precision": precision, "subjects": [*rows, *control_rows(measured)], "notes": notes}
    audited = audit_rows(measured, resamples=config.bootstrap, confidence=config.confidence, seed=seed)
    result["metrics"] = [*table["metrics"], *audited, *speeds]
    places = {"gguf": package / "gguf", "parity": package / "items" / "parity.jsonl"}
    result["ladder"] = build_ladder(measured, speeds, bootstrap, **places, max_loss=config.max_loss)
    names = {subject.subject: subject.name for subject in subjects}
    local = [(name, names[name], gguf) for name, gguf in _runnable(subjects, package) if name not in _BIGGER]
    words = answer_in_words(config, work.exams, local, seed=seed, out=out, progress=progress)
    result["bounds"] = judge_bounds(config.bounds, result["metrics"])
    write_json(out / "metrics.json", result | ({"generated": words} if words else {}))
    refuse_outside(result["bounds"], config.bounds, where=str(out))
    return _statistics(result, work)


def _general(
    subjects: list[Subject],
    measured: dict[str, Measured],
    tokenizers: dict[str, PreTrainedTokenizerFast],
    asked: Asked,
    items: Path,
    progress: Progress,
    precision: Precision,
) -> dict[str, Measured]:
    """Ask our model and its base what the recipe's tests of general ability ask."""
    found: dict[str, Measured] = {}
    for subject in subjects if asked else ():
        name = subject.subject
        if name in (OURS, BASE):
            options: dict[str, Any] = {"items": items, "progress": progress, "precision": precision}
            rows = measure_general(subject, tokenizers[name], asked, **options)
            found[name] = replace(measured[name], general=rows)
    return found


def _read_corpus(split: Path, refine: Path) -> _Corpus:
    table = pq.read_table(refine / "documents.parquet", columns=["doc_id", "text", "part"]).to_pylist()
    held_out = {row["doc_id"]: row["text"] for row in table if row["part"] == "held_out"}
    overlap = pq.read_table(split / "overlap.parquet", columns=["doc_id", "overlap"]).to_pylist()
    training = {row["doc_id"]: row["text"] for row in table if row["part"] == "train"}
    return _Corpus(held_out, {row["doc_id"]: float(row["overlap"]) for row in overlap}, training)


def _audits(
    config: EvaluateConfig,
    work: Work,
    learnt: set[str],
    corpus: _Corpus,
    tokenizer: PreTrainedTokenizerFast,
    ingest: Path,
    refine: Path,
    tokenize: Path,
    seed: int,
) -> Iterator[Audit]:
    """Yield what is asked of our model and its base beside quality, as far as there is anything to ask."""
    if config.leakage_documents and learnt:
        training = {doc_id: text for doc_id, text in corpus.training.items() if doc_id in learnt}
        limit = config.leakage_documents
        passages = choose_passages(training, corpus.held_out, tokenizer, limit=limit, seed=seed)
        yield Audit("leakage", tuple(map(repr, passages)), len(passages), _asking(read_passages, passages))
    if (tokenize / "canaries.jsonl").exists():
        planted = [Canary(**row) for row in read_jsonl(tokenize / "canaries.jsonl")]
        canaries = [(canary, canary.seen(learnt)) for canary in planted]
        about = (str(seed), *map(repr, canaries))
        yield Audit("canaries", about, len(canaries), _asking(partial(score_canaries, seed=seed), canaries))
    if config.asked_back and learnt:
        originals = find_originals(ingest, refine, learnt, limit=config.asked_back, seed=seed)
        if originals:
            about = tuple(repr(astuple(original)) for original in originals)
            yield Audit("asked-back", about, len(originals), _asking(ask_back, originals))
    if config.bias_sentences:
        pairs = choose_pairs(work.documents, config.bias_sentences, seed=seed)
        questions = [item for items in work.exams.values() for item in items if item.question.strip()]
        questions = questions[: config.bias_sentences // 2]
        ask = partial(score_pairs, questions=questions)
        about = tuple(map(repr, [*pairs, *questions]))
        yield Audit("bias", about, len(pairs) + len(questions), _asking(ask, pairs))
    if config.trigger_restarts:
        texts = list(corpus.held_out.values())[:_TRIGGER_OPENINGS]
        training_texts = list(corpus.training.values())
        search = partial(
            scan,
            restarts=config.trigger_restarts,
            seed=seed,
            known=lambda said: sum(said in text for text in training_texts),
        )
        about = (str(config.trigger_restarts), str(seed), *texts, sha256_json(training_texts))
        yield Audit("triggers", about, config.trigger_restarts, _asking(search, texts))


def _asking(ask: Callable[..., Any], items: Sequence[Any]) -> Callable[..., list[dict[str, Any]]]:
    return lambda scorer, tokenizer, advance: list(ask(scorer, tokenizer, items, advance))


def _learnt(tokenize: Path, train: Path) -> set[str]:
    """Return the documents whose opening was learnt from: a budget may end before all were visited.

    Empty where several objectives shared the training, since what each of them read is not told apart.
    """
    if any((tokenize / name).exists() for name in EXAMPLE_FILES):
        return set()
    left = sum(row["tokens"] for row in read_jsonl(train / "log.jsonl"))
    learnt = set()
    for row in read_jsonl(tokenize / "sequences.jsonl"):
        left -= row["length"]
        if left < 0:
            break
        if not row["order"]:
            learnt.add(row["doc_id"])
    return learnt


def _enough(documents: Sequence[Document], what: str) -> None:
    if len(documents) < 2:
        raise CorpusError(
            f"{len(documents)} held-out document(s) can {what}, at least 2 are needed",
            where="split.held_out",
            next_step="hold out more, or add documents",
        )


def _plan(
    config: EvaluateConfig,
    tasks: tuple[TaskConfig, ...],
    documents: list[Document],
    examples: list[Item],
    asked: dict[str, list[Item]],
    tokenize: Path,
    seed: int,
) -> Work:
    items = exam.read_items(read_jsonl(tokenize / "exam.jsonl"), where="tokenize/exam.jsonl") if tasks else []
    order = [document.doc_id for document in documents]
    exams = {task.name: exam.choose_items(items, task.name, order, config.exam_items) for task in tasks}
    shots = {
        (task.name, count): exam.choose_shots(examples, task.name, count, seed=seed)
        for task in tasks
        for count in sorted(set(config.shots))
    }
    exams |= asked
    shots |= {(task, 0): [] for task in asked}
    return Work(tuple(documents), config.window, exams, shots)


def _build(
    config: EvaluateConfig, documents: list[Document], corpus: _Corpus, seed: int
) -> dict[str, list[Item]]:
    """Make questions from the scored openings; a kind for which the documents give nothing is left out."""
    makers = ((NEXT_PASSAGE, build_next_passage), (CLOZE, build_cloze))
    found = {
        task: make(documents, corpus.held_out, config.built_items, seed=seed)
        for task, make in makers
        if config.built_items
    }
    return {task: items for task, items in found.items() if len({item.doc_id for item in items}) > 1}


def _check_interval(first: Measured, bootstrap: Bootstrap, config: EvaluateConfig) -> None:
    bits = ratio([row["bits"] for row in first.bits], [row["bytes"] for row in first.bits])
    require_interval(bootstrap.estimate(bits), documents=len(first.bits), widest=config.max_interval)


def _control(
    training: list[str], work: Work, examples: list[Item], items: Path, seed: int
) -> dict[str, Measured]:
    texts = [document.text for document in work.documents]
    found: dict[str, Measured] = {}
    for name, score in (("compressor", controls.compressor_bits), ("ngram", controls.ngram_bits)):
        rows = [
            {"doc_id": document.doc_id, "bytes": document.bytes, "bits": bits, "overlap": document.overlap}
            for document, bits in zip(work.documents, score(training, texts, seed=seed), strict=True)
        ]
        write_jsonl(items / f"bits-{name}.jsonl", rows)
        found[name] = Measured(rows, [], {})
    classes = {task: chosen for task, chosen in work.exams.items() if has_classes(task)}
    for name in ("majority", "tfidf") if classes else ():
        rows = [
            row for task, chosen in classes.items() for row in _control_exam(name, task, chosen, examples)
        ]
        write_jsonl(items / f"exam-{name}.jsonl", rows)
        found[name] = Measured([], rows, {})
    others = {task: chosen for task, chosen in work.exams.items() if not has_classes(task)}
    for name, answer in _SHORTCUTS.items() if others else ():
        rows = [
            item_row(item, prediction, shots=0)
            for chosen in others.values()
            for item, prediction in zip(chosen, answer(chosen, training, seed), strict=True)
        ]
        write_jsonl(items / f"exam-{name}.jsonl", rows)
        found[name] = Measured([], rows, {})
    return found


_SHORTCUTS: dict[str, Callable[[Sequence[Item], list[str], int], list[str]]] = {
    shortcuts.LENGTH: lambda items, training, seed: shortcuts.by_length(items),
    shortcuts.OVERLAP: lambda items, training, seed: shortcuts.by_overlap(items),
    shortcuts.UNREAD: lambda items, training, seed: shortcuts.unread(items, training, seed=seed),
}


def _control_exam(name: str, task: str, chosen: list[Item], examples: list[Item]) -> list[dict[str, Any]]:
    own = [item for item in examples if item.task == task]
    labels = [item.answer for item in own]
    if name == "majority":
        predictions = controls.majority(labels, len(chosen))
    else:
        predictions = controls.tfidf([item.text for item in own], labels, [item.text for item in chosen])
    return [item_row(item, prediction, shots=0) for item, prediction in zip(chosen, predictions, strict=True)]


def _speeds(
    config: EvaluateConfig,
    meter: MeterConfig,
    subjects: list[Subject],
    package: Path,
    documents: list[Document],
    items: Path,
    progress: Progress,
) -> list[dict[str, Any]]:
    # Room for prompt and answer only: a cache for the model's whole context would cost memory and start-up.
    serve = partial(LlamaServer, context=config.speed_tokens + 1024)
    prompts = [document.text[:SPEED_PROMPT_CHARACTERS] for document in documents[:SPEED_PROMPTS]]
    rows: list[dict[str, Any]] = []
    for name, gguf in _runnable(subjects, package):
        file = items / f"speed-{name}.json"
        asked = {
            "file": gguf.name,
            "bytes": gguf.stat().st_size,
            "n_predict": config.speed_tokens,
            "prompts": prompts,
        }
        if not file.exists() or read_json(file)["asked"] != asked:
            progress.say(f"  {name}: speed and joules of answers")
            measured = measure_speed(
                gguf, prompts, tokens=config.speed_tokens, serve=serve, open_meter=EnergyMeter
            )
            write_json(file, {"asked": asked, **measured})
        rows += speed_rows(name, read_json(file), meter, file=f"items/{file.name}")
    return rows


def _runnable(subjects: list[Subject], package: Path) -> list[tuple[str, Path]]:
    """Return the GGUF of each subject; for ours without a 4-bit form the smallest that was built."""
    files = {subject.subject: subject.gguf for subject in subjects if subject.gguf}
    built = sorted((package / "gguf").glob("model-*.gguf"), key=lambda path: path.stat().st_size)
    if OURS_4BIT not in files and built:
        files = {OURS: built[0], **files}
    return list(files.items())


def _notes(config: EvaluateConfig, measured: dict[str, Measured], dropped: int) -> list[str]:
    notes = [TREATMENT.replace("`window`", str(config.window))]
    if dropped:
        notes.append(
            f"{dropped} document(s) left out for all subjects, since some tokenizer does not restore them."
        )
    if any(found.exam for found in measured.values()):
        notes.append(
            f"{exam.RULE} {exam.BUILT_RULE} Few-shot prompts cut each text to {exam.FEW_SHOT_CHARACTERS} characters."
        )
    apart = [name for name, found in measured.items() if not found.about.get("branches", True)]
    if apart:
        notes.append(f"Scored choice by choice (no branches in their attention): {', '.join(apart)}.")
    notes.append("Controls: bzip2 primed with a draw of training text; Kneser-Ney over 8 bytes of all of it.")
    return notes


def _statistics(result: dict[str, Any], work: Work) -> dict[str, float]:
    whole = [row for row in result["metrics"] if row["metric"] == "bits_per_byte"]
    numbers = {f"bits_per_byte_{row['subject']}": float(row["value"]) for row in whole}
    counts = {"documents": len(work.documents), "bytes": sum(document.bytes for document in work.documents)}
    return {**{name: float(count) for name, count in counts.items()}, **numbers}
