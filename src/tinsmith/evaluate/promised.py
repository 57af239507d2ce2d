"""Check that a bundle holds what its recipe names: files, models, baselines, questions and who answered them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from tinsmith.base.errors import BundleError
from tinsmith.base.files import read_json, read_jsonl
from tinsmith.evaluate.baselines import BASELINES
from tinsmith.evaluate.families import families
from tinsmith.evaluate.families.bits import draw_documents
from tinsmith.evaluate.job_baselines import ENCODER, JOB_BASELINES
from tinsmith.evaluate.job_grades import QUESTIONS, read_job_questions
from tinsmith.evaluate.names import possible_names, scored_formats
from tinsmith.evaluate.own_questions import own_task
from tinsmith.evaluate.weights import read_weights
from tinsmith.evidence.family import Items, contradiction, read_metrics
from tinsmith.evidence.schema import (
    BASE,
    GGUF_SUBJECTS,
    OURS,
    Gap,
    Metrics,
    Role,
    role_of,
    shown_examples,
    taught_alike,
)
from tinsmith.jobs.spec import FILE, read_job
from tinsmith.recipe import Recipe
from tinsmith.serve.runtime import find_gguf


def check_promised(bundle: Path, recipe: Recipe) -> int:
    """Raise BundleError that names the first thing that the recipe names and the bundle lacks, or the other way round.

    Return how many of the drawn documents were left out. This finds who leaves out a model together with its rows, or a
    question together with all answers to it.
    """
    where = bundle / "data" / "metrics.json"
    stored = read_metrics(where, families())
    names = [subject.subject for subject in stored.subjects]
    items = Items(bundle / "items", bundle / "gguf", bundle / "items" / "parity.jsonl", tuple(names))
    # A job is exported as the general model is, below its own directory.
    roots = [bundle] * bool(recipe.ingest.sources) + [items.jobs / job.name for job in recipe.jobs]
    for root in roots:
        _check_exports(root, recipe)
    if recipe.jobs:
        _check_jobs(items, recipe)
    _check_models(where, names, items, recipe, stored.gaps or ())
    _check_sizes(where, stored, roots)
    _check_baselines(where, names, items, recipe)
    if recipe.jobs:
        _check_jobs(items, recipe)
    left_out = 0
    if recipe.ingest.sources:
        _check_questions(items, recipe)
        left_out = _check_documents(bundle / "data" / "overlap.parquet", items, recipe)
        _check_answers(items, recipe)
        _check_probes(items, recipe)
        _check_audits(where, stored, items, recipe)
        _check_systems(where, stored, items, recipe)
    return left_out


def _check_exports(bundle: Path, recipe: Recipe) -> None:
    """Raise BundleError unless the model and a GGUF of each format of the recipe are there, and no other."""
    if not any((bundle / "model").glob("*.safetensors")):
        raise _missing(bundle / "model", "holds no weights")
    wanted = {f"model-{format}.gguf" for format in recipe.package.formats}
    found = {path.name for path in (bundle / "gguf").glob("*")}
    if lost := wanted - found:
        raise _missing(bundle / "gguf" / min(lost), "is missing, and package.formats names it")
    if more := found - wanted:
        raise contradiction(bundle / "gguf" / min(more), "is not a format that package.formats names")


def _missing(where: Path, what: str) -> BundleError:
    return BundleError(
        what, where=str(where), next_step="use a complete copy of the bundle, or build it again"
    )


def _check_models(where: Path, names: list[str], items: Items, recipe: Recipe, gaps: Sequence[Gap]) -> None:
    """Raise BundleError unless the models among the subjects are those that the recipe names."""
    baselines = {ENCODER, *(baseline.name for baseline in (*BASELINES, *JOB_BASELINES))}
    left = [name for name in names if name not in baselines]
    model = items.folder.parent / "model"
    for what, possible in _wanted(items, recipe, asked=not _left_out(gaps)).items():
        found = next((name for name in left if name in possible), None)
        if found is not None:
            left.remove(found)
        elif not (
            possible <= set(GGUF_SUBJECTS.values()) and recipe.ingest.sources and _is_unreadable(model)
        ):
            if len(possible) == 1:
                what = f"{min(possible)} is missing from the subjects, though the recipe has {what} measured"
            else:
                what = f"{what} of the recipe is missing from the subjects"
            raise contradiction(where, what)
    # A base may not be added either: it would stand for a model that nobody trained on.
    if left:
        unasked = [name for name in left if role_of(name) is not Role.RIVAL]
        others = [name for name in names if role_of(name) is Role.RIVAL and name not in baselines]
        named = ", ".join([*unasked, *others])
        raise contradiction(where, f"has other models than its recipe names: {named}")


def _left_out(gaps: Sequence[Gap]) -> bool:
    """Say whether a bundle is of a version that asked endpoints no jobs, and said so."""
    return any(gap.what == "Endpoints were not asked the jobs" for gap in gaps)


def _wanted(items: Items, recipe: Recipe, *, asked: bool) -> dict[str, set[str]]:
    """Return the subjects that a recipe has measured, baselines left out: what each is, and the names it may have.

    `asked` says whether its endpoints were asked the jobs.
    """
    config = recipe.evaluate
    wanted = _wanted_on_documents(recipe)
    if recipe.jobs:
        served = GGUF_SUBJECTS[find_gguf(items.jobs / recipe.jobs[0].name).stem.removeprefix("model-")]
        files = [possible for possible in wanted.values() if possible == {served}]
        wanted |= {} if files else {"the file of a job": {served}}
        wanted |= {recorded.name: {recorded.name} for recorded in config.recorded}
        wanted |= {endpoint.name: {endpoint.name} for endpoint in config.endpoints if asked}
    if not any(job.kind == "classify" and not job.several for job in recipe.jobs):
        return wanted
    others = {} if recipe.model.scratch else {"its base": {BASE}}
    others |= {f"the rival {rival}": possible_names(rival) for rival in config.rivals}
    wanted |= {"our model": {OURS}} | {
        f"the rival {rival} that was taught alike": {taught_alike(name) for name in possible_names(rival)}
        for rival in config.trained_rivals
    }
    return wanted | {
        f"{what}{f' after {shots} examples' if shots else ''}": {
            shown_examples(name, shots) for name in possible
        }
        for what, possible in others.items()
        for shots in sorted(set(config.shots))
    }


def _wanted_on_documents(recipe: Recipe) -> dict[str, set[str]]:
    """Return the subjects that a recipe has measured on documents, as `_wanted` does."""
    config = recipe.evaluate
    if not recipe.ingest.sources:
        return {}
    wanted = {"our model": {OURS}} | ({} if recipe.model.scratch else {"its base": {BASE}})
    wanted |= {
        f"our {format} file": {GGUF_SUBJECTS[format]}
        for format in scored_formats(config)
        if format in recipe.package.formats
    }
    return wanted | {f"the rival {rival}": possible_names(rival) for rival in config.rivals}


def _check_sizes(where: Path, stored: Metrics, roots: Sequence[Path]) -> None:
    """Raise BundleError where the stored size of a file of ours is not that of the file."""
    for row in stored.subjects:
        format = next((format for format, name in GGUF_SUBJECTS.items() if name == row.subject), "")
        if row.subject != OURS and not format:
            continue
        paths = [root / "gguf" / f"model-{format}.gguf" if format else root / "model" for root in roots]
        # With several models of one name the first is described, or the first job's where that alone was asked.
        found = [read_weights(path)._asdict() for path in paths]
        for field, value in found[0].items():
            if all(getattr(row, field) != sizes[field] for sizes in found):
                what = (
                    f"subjects, {row.subject}: {field} is {getattr(row, field)!r}, its file gives {value!r}"
                )
                raise contradiction(where, what)


def _check_jobs(items: Items, recipe: Recipe) -> None:
    """Raise BundleError unless each job of the recipe is there as the recipe has it, and its test was asked."""
    asked = read_job_questions(items.folder)
    for config in recipe.jobs:
        path = items.jobs / config.name / FILE
        if not path.is_file():
            raise _missing(path, "is missing, and the recipe has the job")
        if read_job(path.parent).config != config:
            raise contradiction(path, "is another job than the recipe has")
        if config.name not in asked:
            raise contradiction(items.folder / QUESTIONS, f"asks no row of {config.name}")
    named = {config.name for config in recipe.jobs}
    if more := (asked.keys() | {path.parent.name for path in items.jobs.glob(f"*/{FILE}")}) - named:
        raise contradiction(
            items.folder / QUESTIONS, f"has the job {min(more)}, which the recipe does not have"
        )
    rows = items.rows("job")
    for config in recipe.jobs:
        ours = [name for name in rows if role_of(name).is_ours]
        if not any(row["job"] == config.name for name in ours for row in rows[name]):
            raise contradiction(items.folder, f"holds no answer of ours to {config.name}")


def _is_unreadable(model: Path) -> bool:
    """Say whether earlier versions could not read GGUF files of the model's family, so that none was scored."""
    return bool(read_json(model / "config.json")["model_type"] == "phi")


def _check_baselines(where: Path, names: list[str], items: Items, recipe: Recipe) -> None:
    """Raise BundleError unless each baseline is there that had something to do."""
    questions = items.questions.values()
    classified = any(
        read_job(items.jobs / name).config.kind == "classify" for name in read_job_questions(items.folder)
    )
    for learnt in JOB_BASELINES if classified else ():
        if not learnt.reads_states and learnt.name not in names:
            raise contradiction(where, f"the baseline {learnt.name} is missing from the subjects")
    for baseline in BASELINES if recipe.ingest.sources else ():
        answers = baseline.answer and any(item.has_classes == baseline.classes for item in questions)
        if (baseline.bits or answers) and baseline.name not in names:
            raise contradiction(where, f"the baseline {baseline.name} is missing from the subjects")


def _check_questions(items: Items, recipe: Recipe) -> None:
    """Raise BundleError unless each task and each file of questions of the recipe was asked."""
    config = recipe.evaluate
    path, open_questions = items.folder / "questions.jsonl", items.folder / "open.jsonl"
    tasks = {item.task for item in items.questions.values()}
    if open_questions.is_file():
        tasks |= {Path(row["task"]).stem for row in read_jsonl(open_questions)}
    named = [*(task.name for task in recipe.tasks), *map(own_task, config.questions)]
    for task in named:
        if task not in tasks:
            raise contradiction(path, f"holds no question of {task}, which the recipe names")
    general = {row["task"] for row in items.rows("general").get(OURS, [])}
    for test in config.general:
        if test.name not in general:
            raise contradiction(
                items.path("general", OURS), f"holds no row of the test {test.name}, which the recipe names"
            )


def _check_documents(path: Path, items: Items, recipe: Recipe) -> int:
    """Raise BundleError unless the scored documents are those that the seed draws of all held-out ones.

    Return how many are left out: a tokenizer may not restore them. Earlier versions did not list the held-out ones.
    """
    if not path.is_file():
        return 0
    rows = pq.read_table(path, columns=["doc_id", "overlap"]).to_pylist()
    overlaps = {row["doc_id"]: float(row["overlap"]) for row in rows}
    drawn = draw_documents(overlaps, recipe.evaluate.documents, seed=recipe.seed)
    scored = items.rows("bits").get(OURS, [])
    order = {doc_id: place for place, doc_id in enumerate(drawn)}
    places = [order.get(row["doc_id"], -1) for row in scored]
    if places != sorted({*places} - {-1}):
        raise contradiction(items.path("bits", OURS), "scores other documents than the recipe's seed draws")
    if any(row["overlap"] != overlaps[row["doc_id"]] for row in scored):
        raise contradiction(items.path("bits", OURS), f"gives an overlap that is not that of {path.name}")
    return len(drawn) - len(scored)


def _check_answers(items: Items, recipe: Recipe) -> None:
    """Raise BundleError unless every model scored all documents and answered all questions, each once.

    Who is asked about jobs alone has neither.
    """
    tasks = {task.name for task in recipe.tasks}
    asked = {
        (item.item, count)
        for item in items.questions.values()
        for count in (sorted(set(recipe.evaluate.shots)) if item.task in tasks else (0,))
    }
    baselines = {baseline.name: baseline for baseline in BASELINES}
    bits, answers = items.rows("bits"), items.rows("exam")
    asked_here = set(baselines).union(*_wanted_on_documents(recipe).values())
    for name in items.subjects:
        if name not in asked_here:
            for kind, scored in (("bits", bits), ("exam", answers)):
                if name in scored:
                    raise contradiction(
                        items.path(kind, name), "is there, though the recipe does not ask for it"
                    )
            continue
        baseline = baselines.get(name)
        if (baseline is None or baseline.bits) and name not in bits:
            raise _missing(items.path("bits", name), f"is missing, so {name} scored no text")
        rows = [(row["item"], row["shots"]) for row in answers.get(name, [])]
        if baseline is None:
            expected = asked
        else:
            own = [item for item in items.questions.values() if item.has_classes == baseline.classes]
            expected = {(item.item, 0) for item in own} if baseline.answer else set()
        _same(items.path("exam", name), rows, expected)


def _same(path: Path, rows: list[tuple[str, int]], expected: set[tuple[str, int]]) -> None:
    if len(rows) != len(set(rows)):
        raise contradiction(path, "answers a question twice")
    for item, count in sorted(expected.symmetric_difference(rows)):
        what = "does not answer" if (item, count) in expected else "answers, though the recipe does not ask,"
        raise contradiction(path, f"{what} item {item} after {count} examples")


def _check_probes(items: Items, recipe: Recipe) -> None:
    """Raise BundleError where our model was asked what its base was not, or the other way round."""
    on_documents = set().union(*_wanted_on_documents(recipe).values())
    probed = [
        name for name in items.subjects if name in on_documents and role_of(name) in (Role.OURS, Role.BASE)
    ]
    for family in families():
        if family.prepare and 0 < len(found := items.rows(family.kind, probed)) < len(probed):
            (lost, *_) = [name for name in probed if name not in found]
            raise _missing(items.path(family.kind, lost), f"is missing, though {next(iter(found))} has it")


def _check_audits(where: Path, stored: Metrics, items: Items, recipe: Recipe) -> None:
    """Raise BundleError where an audit that the recipe pays for has neither items nor a reason why it has none.

    Earlier versions stored no reasons.
    """
    if stored.gaps is None:
        return
    explained = {gap.kind for gap in stored.gaps}
    for family in families():
        asked = family.prepare and family.cost(recipe, 1.0).tokens
        if asked and family.kind not in explained and not items.rows(family.kind, [OURS]):
            raise contradiction(
                where, f"neither measures {family.kind}, which the recipe asks for, nor says why"
            )


def _check_systems(where: Path, stored: Metrics, items: Items, recipe: Recipe) -> None:
    """Raise BundleError unless our model and every endpoint of the recipe were asked the same questions in words."""
    files = [items.folder / name for name in ("questions.jsonl", "open.jsonl")]
    if not recipe.evaluate.asked_in_words or not any(
        path.is_file() and path.stat().st_size for path in files
    ):
        return
    systems = [system.subject for system in stored.generated.systems] if stored.generated else []
    for endpoint in recipe.evaluate.endpoints:
        if endpoint.name not in systems:
            raise contradiction(
                where, f"the endpoint {endpoint.name} of the recipe is missing from the systems"
            )
    if not any(role_of(name).is_ours for name in systems):
        raise contradiction(where, "our model is missing from the systems that answered in words")
    stored_rows = items.rows("generated", systems)
    asked = {name: sorted(row["item"] for row in stored_rows.get(name, [])) for name in systems}
    for name in systems:
        if asked[name] != asked[systems[0]]:
            raise contradiction(items.path("generated", name), f"was not asked what {systems[0]} was asked")
