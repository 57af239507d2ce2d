"""Measure our model, its base, rivals and baselines on the same held-out documents."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerFast

from tinsmith.base.errors import CorpusError
from tinsmith.base.files import read_json, read_jsonl, write_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.corpus.privacy.find import PLACEHOLDER
from tinsmith.evaluate.answer_speed import measure_speed
from tinsmith.evaluate.baselines import BaselineWork, measure_baselines
from tinsmith.evaluate.families import bits, families, jobs
from tinsmith.evaluate.families import multiple_choice as exam
from tinsmith.evaluate.models import (
    EvalModel,
    describe,
    find_models,
    notes_on,
    open_tokenizer,
    scoring_precision,
    unscored,
)
from tinsmith.evaluate.own_questions import (
    OpenItem,
    read_open_questions,
    read_own_questions,
    repeated_questions,
)
from tinsmith.evaluate.preflight import check_files, check_room
from tinsmith.evaluate.probe import HeldOutText, Preparation, Probe
from tinsmith.evaluate.questions import build_cloze, build_next_passage
from tinsmith.evaluate.run import Work, drop_other_subjects, score_model
from tinsmith.evidence.bootstrap import Bootstrap, require_interval
from tinsmith.evidence.items import Item
from tinsmith.evidence.schema import GGUF_SUBJECTS, OURS, OURS_4BIT, Gap
from tinsmith.meter.energy import EnergyMeter
from tinsmith.model.load import choose_device
from tinsmith.recipe import EvaluateConfig, TaskConfig
from tinsmith.serve.runtime import LlamaServer
from tinsmith.stages.evaluate import Settings
from tinsmith.stages.evaluate.answers import Words, answer_in_words, choose_words
from tinsmith.stages.evaluate.learnt import find_learnt
from tinsmith.stages.evaluate.measured import Measured, Spent
from tinsmith.stages.evaluate.origins import Origins, find_origins
from tinsmith.stages.evaluate.redacted_values import find_redacted_values
from tinsmith.stages.stage import Inputs
from tinsmith.tokens.canaries import Canary

SPEED_PROMPTS, SPEED_PROMPT_CHARACTERS = 3, 300
Tokenizers = Mapping[str, PreTrainedTokenizerFast]


def evaluate_documents(
    config: EvaluateConfig,
    *,
    settings: Settings,
    inputs: Inputs,
    seed: int,
    out: Path,
    progress: Progress,
    may_leave: tuple[str, ...],
) -> Measured:
    """Score everything and store every item.

    Raises AssetError for a model that cannot be scored,
    CorpusError for too few held-out documents or none that may be sent.
    """
    items, tasks, device = out / "items", settings.tasks, choose_device(settings.train.device)
    models = find_models(config, settings.model, inputs["package"])
    for each in models:
        check_files(each)
    tokenizers = {each.subject: open_tokenizer(each) for each in models}
    corpus = _read_corpus(inputs, tasks)
    drawn = bits.choose_documents(
        corpus.held_out, corpus.overlaps, documents=config.documents, characters=config.characters, seed=seed
    )
    _require_two(drawn, "be scored")
    texts = bits.restorable(drawn, tokenizers)
    _require_two(texts, "be restored by the tokenizer of every model")
    questions = _choose_questions(config, tasks, texts, corpus, seed)
    words = choose_words(config, tasks, questions, _origins(config, tasks, corpus, may_leave), seed=seed)
    prepared = tuple(
        _prepare_probes(config, settings, inputs, corpus, texts, questions, tokenizers[OURS], seed)
    )
    work = Work(
        texts,
        config.window,
        questions,
        _choose_shots(config, tasks, questions, corpus, seed),
        [probe for probe in prepared if isinstance(probe, Probe)],
        scoring_precision(config.precision, device),
        device,
    )
    for each in models:
        check_room(each, tokenizers[each.subject], work)
    kinds = ["about", *(family.kind for family in families() if family is not jobs.FAMILY)]
    drop_other_subjects(items, list(tokenizers), kinds)
    write_jsonl(items / "texts.jsonl", ({"doc_id": text.doc_id, "text": text.text} for text in texts))
    write_jsonl(items / "questions.jsonl", map(asdict, itertools.chain.from_iterable(questions.values())))
    for each in models:
        score_model(each, tokenizers[each.subject], work, items=items, progress=progress)
        # After the first model, so that an interval too wide is reported before the others are scored.
        _check_interval(items / f"bits-{each.subject}.jsonl", config, seed)
    progress.say("  baselines")
    baselines = measure_baselines(
        BaselineWork(texts, questions, list(corpus.training.values()), corpus.examples, seed), items
    )
    runnable = _runnable(models, inputs["package"])
    _measure_speeds(config, runnable, texts, items, progress)
    spent = _answer_in_words(words, models, runnable, out, progress)
    described = [describe(each, tokenizers[each.subject]) for each in models]
    notes = [
        *_notes(config, items, questions, models, len(drawn) - len(texts)),
        *repeated_questions(config.questions),
        *notes_on(described, work.precision),
        *unscored(config, inputs["package"]),
    ]
    gaps = [gap for gap in prepared if isinstance(gap, Gap)]
    statistics = {"documents": float(len(texts)), "bytes": float(sum(text.bytes for text in texts))}
    return Measured([*described, *baselines], notes, gaps, statistics, words.withheld, spent)


@dataclass(frozen=True)
class _Corpus:
    """What earlier stages left: texts and access labels by id, overlaps with training text, tasks' questions."""

    labels: dict[str, str]
    held_out: dict[str, str]
    overlaps: dict[str, float]
    training: dict[str, str]
    questions: list[Item]
    examples: list[Item]


def _read_corpus(inputs: Inputs, tasks: Sequence[TaskConfig]) -> _Corpus:
    path = inputs["refine"] / "documents.parquet"
    columns = [name for name in ("doc_id", "text", "part", "access") if name in pq.read_schema(path).names]
    rows = pq.read_table(path, columns=columns).to_pylist()
    labels = {row["doc_id"]: row.get("access") or "" for row in rows}
    texts: dict[str, dict[str, str]] = {"held_out": {}, "train": {}}
    for row in rows:
        texts[row["part"]][row["doc_id"]] = row["text"]
    overlap = pq.read_table(inputs["split"] / "overlap.parquet", columns=["doc_id", "overlap"]).to_pylist()
    asked = [
        exam.read_items(read_jsonl(inputs["tokenize"] / name), where=f"tokenize/{name}") if tasks else []
        for name in ("exam.jsonl", "shots.jsonl")
    ]
    overlaps = {row["doc_id"]: float(row["overlap"]) for row in overlap}
    return _Corpus(labels, texts["held_out"], overlaps, texts["train"], *asked)


def _require_two(texts: Sequence[HeldOutText], what: str) -> None:
    if len(texts) < 2:
        raise CorpusError(
            f"{len(texts)} held-out document(s) can {what}, at least 2 are needed",
            where="split.held_out",
            next_step="hold out more, or add documents",
        )


def _choose_questions(
    config: EvaluateConfig,
    tasks: Sequence[TaskConfig],
    texts: Sequence[HeldOutText],
    corpus: _Corpus,
    seed: int,
) -> dict[str, list[Item]]:
    """Return the questions by task: those of the recipe's tasks, built ones, and a person's own.

    Built ones of a kind for which the documents give too little are left out.
    """
    order = [text.doc_id for text in texts]
    chosen = {
        task.name: exam.choose_items(corpus.questions, task.name, order, config.exam_items) for task in tasks
    }
    for build in (build_next_passage, build_cloze) if config.built_items else ():
        built = build(texts, corpus.held_out, config.built_items, seed=seed)
        if len({item.doc_id for item in built}) > 1:
            chosen[built[0].task] = built
    return chosen | read_own_questions(config.questions)


def _choose_shots(
    config: EvaluateConfig,
    tasks: Sequence[TaskConfig],
    questions: Mapping[str, Sequence[Item]],
    corpus: _Corpus,
    seed: int,
) -> dict[tuple[str, int], list[Item]]:
    """Return the examples shown before the questions by task and count; only the recipe's tasks have examples."""
    shots = {
        (task.name, count): exam.choose_shots(corpus.examples, task.name, count, seed=seed)
        for task in tasks
        for count in sorted(set(config.shots))
    }
    return shots | {(task, 0): [] for task in questions if task not in {task.name for task in tasks}}


def _prepare_probes(
    config: EvaluateConfig,
    settings: Settings,
    inputs: Inputs,
    corpus: _Corpus,
    texts: Sequence[HeldOutText],
    questions: Mapping[str, Sequence[Item]],
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
) -> Iterator[Probe | Gap]:
    """Yield what our model and its base are asked beside quality, and what the recipe asks and cannot be asked."""
    planted = inputs["tokenize"] / "canaries.jsonl"
    learnt, nothing_learnt = find_learnt(settings.train, inputs["tokenize"], inputs["train"], seed=seed)
    preparation = Preparation(
        config=config,
        seed=seed,
        texts=texts,
        questions=questions,
        training=corpus.training,
        held_out=corpus.held_out,
        learnt=learnt,
        nothing_learnt=nothing_learnt,
        canaries=[Canary(**row) for row in read_jsonl(planted)] if planted.exists() else [],
        tokenizer=tokenizer,
        redacted_documents=sum(bool(PLACEHOLDER.search(text)) for text in corpus.training.values()),
        find_redacted=lambda limit: find_redacted_values(
            inputs["ingest"], inputs["refine"], learnt, limit=limit, seed=seed
        ),
    )
    for family in families():
        if family.prepare and (found := family.prepare(preparation)):
            yield found


def _check_interval(file: Path, config: EvaluateConfig, seed: int) -> None:
    rows: list[bits.BitsRow] = list(read_jsonl(file))  # type: ignore[arg-type]
    bootstrap = Bootstrap(len(rows), resamples=config.bootstrap, confidence=config.confidence, seed=seed)
    estimate = bootstrap.estimate(bits.statistic(rows))
    require_interval(estimate, documents=len(rows), widest=config.max_interval)


def _runnable(models: Sequence[EvalModel], package: Path) -> dict[str, Path]:
    """Return the GGUF of each model; for ours without a 4-bit file the smallest that was built."""
    files = {model.subject: model.gguf for model in models if model.gguf}
    built = sorted((package / "gguf").glob("model-*.gguf"), key=lambda path: path.stat().st_size)
    return files if OURS_4BIT in files or not built else {OURS: built[0], **files}


def _measure_speeds(
    config: EvaluateConfig,
    runnable: Mapping[str, Path],
    texts: Sequence[HeldOutText],
    items: Path,
    progress: Progress,
) -> None:
    # Room for prompt and answer only: a cache for the model's whole context would cost memory and start-up.
    serve = partial(LlamaServer, context=config.speed_tokens + 1024)
    prompts = [text.text[:SPEED_PROMPT_CHARACTERS] for text in texts[:SPEED_PROMPTS]]
    for subject, gguf in runnable.items():
        file = items / f"speed-{subject}.json"
        asked = {
            "file": gguf.name,
            "bytes": gguf.stat().st_size,
            "n_predict": config.speed_tokens,
            "prompts": prompts,
        }
        if not file.exists() or read_json(file)["asked"] != asked:
            progress.say(f"  {subject}: speed and joules of answers")
            measured = measure_speed(
                gguf, prompts, tokens=config.speed_tokens, serve=serve, open_meter=EnergyMeter
            )
            write_json(file, {"asked": asked, **measured})


def _origins(
    config: EvaluateConfig, tasks: Sequence[TaskConfig], corpus: _Corpus, may_leave: tuple[str, ...]
) -> Origins:
    own: list[Sequence[Item | OpenItem]] = [*read_own_questions(config.questions).values()]
    own += read_open_questions(config.questions).values()
    return find_origins(
        may_leave,
        corpus.labels,
        corpus.held_out,
        own=itertools.chain.from_iterable(own),
        answers=[*corpus.questions, *corpus.examples],
        choices={task.name: task.choices for task in tasks},
    )


def _answer_in_words(
    words: Words,
    models: Sequence[EvalModel],
    runnable: Mapping[str, Path],
    out: Path,
    progress: Progress,
) -> dict[str, Spent]:
    """Ask what runs here, of our files the smallest alone, and the recipe's endpoints; return what each took."""
    bigger = set(GGUF_SUBJECTS.values()) - {OURS_4BIT}
    names = {model.subject: model.name for model in models}
    local = [(subject, names[subject], gguf) for subject, gguf in runnable.items() if subject not in bigger]
    return answer_in_words(words, local, out=out, progress=progress)


def _notes(
    config: EvaluateConfig,
    items: Path,
    questions: Mapping[str, Sequence[Item]],
    models: Sequence[EvalModel],
    dropped: int,
) -> list[str]:
    notes = [bits.TREATMENT.replace("`window`", str(config.window))]
    if dropped:
        notes.append(
            f"{dropped} document(s) are left out for all models, since some tokenizer does not restore them."
        )
    if questions:
        cut = f"Few-shot prompts cut each text to {exam.FEW_SHOT_CHARACTERS} characters."
        notes.append(f"{exam.RULE} {exam.BUILT_RULE} {cut}")
    about = {model.subject: read_json(items / f"about-{model.subject}.json") for model in models}
    apart = [subject for subject, facts in about.items() if not facts["branches"]]
    if apart:
        notes.append(f"Scored choice by choice, since their attention takes no branches: {', '.join(apart)}.")
    notes.append(
        "Baselines: bzip2 primed with a draw of training text; Kneser-Ney over 8 bytes of all of it."
    )
    return notes
