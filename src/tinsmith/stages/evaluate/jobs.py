"""Measure each job on its test rows: our files, base and rivals, baselines, endpoints, recorded answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from tinsmith.base.assets import model_sha256, resolve_model
from tinsmith.base.files import JsonObject, sha256_file, sha256_json, write_jsonl
from tinsmith.base.progress import Progress
from tinsmith.evaluate.families.jobs import FAMILY
from tinsmith.evaluate.job_baselines import JOB_BASELINES, TUNING, JobBaseline, JobData
from tinsmith.evaluate.job_grades import QUESTIONS, Grader
from tinsmith.evaluate.job_models import draw_shots, hidden_states, prompt_ids, untaught
from tinsmith.evaluate.models import (
    EvalModel,
    describe,
    find_others,
    open_tokenizer,
    scoring_precision,
)
from tinsmith.evaluate.recorded import MATCHING, job_of, read_recorded, recorded_subject
from tinsmith.evaluate.run import drop_other_subjects
from tinsmith.evidence.format import plural
from tinsmith.evidence.schema import GGUF_SUBJECTS, OURS, Gap, Role, Subject, shown_examples
from tinsmith.jobs.spec import Calibration
from tinsmith.model.load import choose_device
from tinsmith.recipe import EvaluateConfig, RecordedConfig
from tinsmith.serve.job_model import JobModel
from tinsmith.serve.runtime import find_gguf
from tinsmith.stages.evaluate import Settings
from tinsmith.stages.evaluate.job_endpoints import Endpoints, endpoint_subject
from tinsmith.stages.evaluate.job_store import Answers, Asks, JobStore, metered
from tinsmith.stages.evaluate.job_taught import Teacher
from tinsmith.stages.evaluate.job_work import JobWork, OpenModel, guessed, scored
from tinsmith.stages.evaluate.job_writers import answered, ask_untaught, drop_files, obstacle
from tinsmith.stages.evaluate.measured import Measured

Rows = list[JsonObject]


def evaluate_jobs(
    config: EvaluateConfig,
    works: Sequence[JobWork],
    endpoints: Endpoints,
    *,
    settings: Settings,
    learnt: Path,
    seed: int,
    out: Path,
    progress: Progress,
) -> Measured:
    """Ask everybody each job's test rows, and store every answer.

    Raises AssetError for a model that cannot be opened, RecipeError for recorded answers to other inputs, LLMError for
    an endpoint that gives no answer.
    """
    write_jsonl(out / "items" / QUESTIONS, (question for work in works for question in work.questions))
    judging = _Judging(works, config, settings, seed, out, progress)
    # First, so that answers to other inputs are refused before any model is opened.
    recorded = judging.read_recorded()
    judging.ask_ours()
    judging.ask_models()
    drop_files(out)
    judging.ask_baselines()
    judging.teach(learnt, out)
    judging.ask_endpoints(endpoints)
    judging.subjects += recorded
    names = [subject.subject for subject in judging.subjects]
    drop_other_subjects(out / "items", names, [FAMILY.kind])
    rows = {f"test_rows_{work.name}": float(len(work.test)) for work in works}
    return Measured(judging.subjects, gaps=judging.gaps, statistics=rows, withheld=endpoints.left_out())


class _Judging:
    """Asks subject after subject, and notes who was asked."""

    def __init__(
        self,
        works: Sequence[JobWork],
        config: EvaluateConfig,
        settings: Settings,
        seed: int,
        out: Path,
        progress: Progress,
    ) -> None:
        self.works, self.config, self.settings, self.seed = works, config, settings, seed
        self.progress, self.out = progress, out
        self.device = choose_device(settings.train.device)
        self.precision = scoring_precision(config.precision, self.device)
        self.store = JobStore(out / "items", _depends(works, seed), progress)
        self.labelled = [work for work in works if work.has_one_label]
        self.subjects: list[Subject] = []
        self.gaps: list[Gap] = []

    def ask_ours(self) -> None:
        """Ask the smallest GGUF of each job as it is served, and the trained weights themselves."""
        name = f"{self.settings.model.scratch or self.settings.model.base}, taught here"
        licence = "that of its base and examples"
        files = [find_gguf(work.directory) for work in self.works]
        format = files[0].stem.removeprefix("model-")
        ours = EvalModel(GGUF_SUBJECTS[format], f"{name} ({format})", files[0], licence)
        self.subjects.append(describe(ours, open_tokenizer(_trained(self.works[0]))))
        served = {work.name: partial(_ask_served, work, format, self.progress) for work in self.works}
        self.store.put(ours.subject, "ours", list(map(sha256_file, files)), served)
        if self.labelled:
            trained = EvalModel(OURS, name, self.labelled[0].directory / "model", licence)
            self.subjects.insert(0, describe(trained, open_tokenizer(trained)))
            about = [model_sha256(_trained(work).path) for work in self.labelled]
            asks = {work.name: partial(self._ask_trained, work) for work in self.labelled}
            self.store.put(OURS, "ours", [self.precision, *about], asks)

    def _ask_trained(self, work: JobWork) -> Answers:
        with OpenModel(_trained(work), self.precision, self.device) as model:
            return scored(work, model, Grader(work.job), work.test, work.questions, ())

    def ask_models(self) -> None:
        """Ask base and rivals without examples and after some; on the way, learn from the base's hidden states."""
        for found in find_others(self.config, self.settings.model):
            with OpenModel(found, self.precision, self.device) as model:
                described = describe(found, model.tokenizer)
                for shots in sorted(set(self.config.shots)):
                    subject, name = shown_examples(found.subject, shots), _after(found.name, shots)
                    changes = {"subject": subject, "name": name, "shots": shots}
                    self.subjects.append(described.model_copy(update=changes))
                    works = [work for work in self.works if self._can_ask(work, model, shots, name)]
                    asks = {work.name: partial(self._ask_model, work, model, shots) for work in works}
                    self.store.put(subject, "model", [model.sha256, shots, self.config.job_items], asks)
                if described.role is Role.BASE and self.labelled and self.config.frozen_tokens:
                    self._learn_from_states(model)

    def _can_ask(self, work: JobWork, model: OpenModel, shots: int, name: str) -> bool:
        """Say whether a model can be asked a job, and note why where it cannot."""
        if work.has_one_label:
            return True
        why = obstacle(work, model, shots, seed=self.seed, out=self.out)
        if why:
            self.gaps.append(Gap(kind=FAMILY.kind, what=f"{name} was not asked {work.name}", why=why))
        return not why

    def _ask_model(self, work: JobWork, model: OpenModel, shots: int) -> Answers:
        if not work.has_one_label:
            return ask_untaught(work, model, shots, seed=self.seed, out=self.out, progress=self.progress)
        shown = draw_shots(work.learn, shots, seed=self.seed)
        calibration = untaught(model.scorer, model.tokenizer, work.job, shown, like=work.test[0])
        return scored(work, model, work.judged_by(calibration), *work.few(), shown)

    def _learn_from_states(self, model: OpenModel) -> None:
        """Let the baselines that read hidden states learn from as many examples as `frozen_tokens` holds."""
        read = {work.name: self._within_budget(work, model) for work in self.labelled}
        if any(
            len({row["answer"] for row in learn}) < 2 or not validation for learn, validation in read.values()
        ):
            what = "no baseline learnt from the base's hidden states"
            why = f"evaluate.frozen_tokens = {self.config.frozen_tokens:,} holds too few examples"
            self.gaps.append(Gap(kind=FAMILY.kind, what=what, why=why))
            return
        parts = [(len(read[work.name][0]), len(work.learn)) for work in self.labelled]
        part = " and ".join(f"{own:,} of {total:,} examples" for own, total in parts)
        suffix = f", from {part}" if any(own < total for own, total in parts) else ""
        about = [model.sha256, self.config.job_items, self.config.frozen_tokens]
        for baseline in JOB_BASELINES:
            if baseline.reads_states:
                named = replace(baseline, title=baseline.title + suffix)
                asks = {
                    work.name: partial(self._ask_frozen, work, baseline, model, read[work.name])
                    for work in self.labelled
                }
                self._put_baseline(named, about, asks)

    def _ask_frozen(
        self, work: JobWork, baseline: JobBaseline, model: OpenModel, read: tuple[Rows, Rows]
    ) -> Answers:
        rows, questions = work.few()
        parts = {"learn": read[0], "validation": read[1], "test": rows}
        total = sum(map(len, parts.values()))
        with self.progress.task(f"{work.name}: hidden states", total, "examples") as advance:
            states = {
                part: hidden_states(model.scorer, model.tokenizer, work.job, own, advance)
                for part, own in parts.items()
            }
        data = JobData(work.job.labels, False, *read, rows, states)
        return guessed(work, questions, baseline.guess(data))

    def _within_budget(self, work: JobWork, model: OpenModel) -> tuple[Rows, Rows]:
        """Draw rows to learn from and to validate on, until their prompts fill the budget of tokens."""
        kept: list[Rows] = []
        most = self.config.frozen_tokens
        for rows, budget in ((work.learn, float(most)), (work.validation, most / 5)):
            own: Rows = []
            for number in np.random.default_rng(self.seed).permutation(len(rows)):
                budget -= len(prompt_ids(model.tokenizer, work.job, rows[number]))
                if budget < 0:
                    break
                own.append(rows[number])
            kept.append(own)
        return kept[0], kept[1]

    def ask_baselines(self) -> None:
        """Let the baselines learn from the examples, tune on validation rows and answer the test."""
        works = [work for work in self.works if work.job.config.kind == "classify"]
        for baseline in JOB_BASELINES if works else ():
            if not baseline.reads_states:
                asks = {work.name: partial(_ask_baseline, work, baseline) for work in works}
                self._put_baseline(baseline, [], asks)

    def _put_baseline(self, baseline: JobBaseline, about: Sequence[object], asks: Asks) -> None:
        self.subjects.append(Subject(subject=baseline.name, name=baseline.title, role=Role.BASELINE))
        self.store.put(baseline.name, "baseline", [TUNING, *about], asks)

    def teach(self, learnt: Path, out: Path) -> None:
        """Teach the rivals and the encoder of the recipe what our model was taught, and ask them."""
        if not self.labelled:
            return
        teacher = Teacher(
            self.labelled,
            self.store,
            learnt=learnt,
            out=out,
            train=self.settings.train,
            seed=self.seed,
            precision=self.precision,
            device=self.device,
        )
        self.subjects += teacher.teach_rivals(self.config, self.progress)
        if self.config.encoder:
            self.subjects.append(teacher.teach_encoder(resolve_model(self.config.encoder)))

    def ask_endpoints(self, endpoints: Endpoints) -> None:
        """Ask the systems behind an API about rows of each job."""
        for endpoint in self.config.endpoints:
            with endpoints.open(endpoint) as asking:
                asks = {work.name: partial(endpoints.ask, endpoint, asking, work) for work in self.works}
                stored = self.store.put(endpoint.name, "endpoint", endpoints.about(endpoint), asks)
            self.subjects.append(endpoint_subject(endpoint))
            for name, facts in stored["jobs"].items():
                if lost := facts.get("lost"):
                    what = f"{sum(lost.values())} rows of {name} have no answer of {endpoint.name}"
                    why = ", ".join(f"{reason} ({count})" for reason, count in lost.items())
                    self.gaps.append(Gap(kind=FAMILY.kind, what=what, why=why))

    def read_recorded(self) -> list[Subject]:
        """Match recorded answers with the test rows; return who gave them."""
        works = {work.name: work for work in self.works}
        for number, recorded in enumerate(self.config.recorded):
            jobs = [work.job.config for work in self.works]
            work = works[job_of(recorded, jobs, where=f"evaluate.recorded.{number}")]
            about = [sha256_file(Path(recorded.file).expanduser()), recorded.price_per_1000, MATCHING]
            asks = {work.name: partial(_recorded, work, recorded)}
            self.store.put(recorded.name, "recorded", about, asks)
        return list(map(recorded_subject, self.config.recorded))


def _depends(works: Sequence[JobWork], seed: int) -> JsonObject:
    """Return what the answers of every subject depend on: the jobs, their examples and their questions."""
    sides = {work.name: sha256_json([*work.learn, *work.validation]) for work in works}
    jobs = {work.name: [work.job.model_dump(mode="json"), *work.questions] for work in works}
    return {"seed": seed, "examples": sides, "jobs": jobs}


def _trained(work: JobWork) -> EvalModel:
    return EvalModel(OURS, OURS, work.directory / "model", "")


def _after(name: str, shots: int) -> str:
    return f"{name}, {plural(shots, 'example')}" if shots else name


def _ask_served(work: JobWork, format: str, progress: Progress) -> Answers:
    """Ask our file as `tinsmith run` does; the parity gate holds llama.cpp to the same labels."""
    grader = Grader(work.job)
    with JobModel(work.directory, format, bulk=True) as model:
        if not work.has_one_label:
            return answered(model, grader, work.test, work.questions, progress)
        prompts = [prompt_ids(model.tokenizer, work.job, row) for row in work.test]
        with metered() as cost:
            scores = model.label_scores(prompts)
        rows = [grader.chosen(*pair) for pair in zip(work.questions, scores, strict=True)]
    return Answers(rows, cost)


def _ask_baseline(work: JobWork, baseline: JobBaseline) -> Answers:
    several = work.job.config.several
    data = JobData(work.job.labels, several, work.learn, work.validation, work.test)
    return guessed(work, work.questions, baseline.guess(data))


def _recorded(work: JobWork, recorded: RecordedConfig) -> Answers:
    records = [row.get("record", {}) for row in work.test]
    found = read_recorded(recorded, work.judged_by(Calibration()), work.questions, records)
    return Answers(found.rows, recorded=found.counts, price_per_1000=recorded.price_per_1000 or None)
