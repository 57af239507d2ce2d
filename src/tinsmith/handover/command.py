"""Hand a bundle's model over to Ollama, the hub or vLLM: `tinsmith export BUNDLE DIR --to TOOL`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

from tinsmith.base.assets import published_base
from tinsmith.base.errors import BundleError
from tinsmith.base.files import atomic_path, read_json
from tinsmith.serve.runtime import find_gguf

Tool = Literal["ollama", "hub", "vllm"]


def export(
    bundle: Path,
    out: Path,
    tool: Tool,
    *,
    job: str | None = None,
    format: str | None = None,
    with_exam: bool = False,
) -> list[str]:
    """Write what a tool needs to run a model of a bundle into a new directory; return notes for the person.

    `with_exam` writes the exam of the hub's directory, which holds texts that were held out. `job` chooses the model of
    a job instead of the documents'. Raises BundleError without such a model or where the
    directory exists, AssetError for a chat template that the tool cannot run.
    """
    _refuse_unread(tool, format, with_exam)
    root = _root(bundle, job)
    if out.exists():
        raise BundleError(
            "exists already", where=str(out), next_step="name a directory that does not exist yet"
        )
    evidence = read_json(bundle / "evidence.json")
    name = (job or evidence["title"]).lower().replace(" ", "-")
    with atomic_path(out) as partial:
        partial.mkdir(parents=True)
        if tool == "ollama":
            from tinsmith.handover.ollama import write_ollama

            learnt = "the documents or rows that were learnt"
            base = published_base(evidence["base"]) or Path(evidence["base"]).name
            licence = f"That of {learnt}." if evidence["fresh"] else f"That of {base} and of {learnt}."
            return [
                note.replace(str(partial), str(out))
                for note in write_ollama(root / "model", find_gguf(root, format), partial, name, licence)
            ]
        shutil.copytree(root / "model", partial, dirs_exist_ok=True)
        if tool == "hub":
            return _hub(bundle, root, partial, job, format, with_exam)
    served = f"vllm serve {out} --served-model-name {name}"
    return [f"run: {served}", "vLLM reads the model's own chat template and stop tokens from this directory"]


def _refuse_unread(tool: Tool, format: str | None, with_exam: bool) -> None:
    """Raise BundleError for an option that a tool's directory does not depend on."""
    unread = {"--with-exam": with_exam and tool != "hub", "--format": format is not None and tool == "vllm"}
    for option, given in unread.items():
        if given:
            raise BundleError(
                f"{option} changes nothing for {tool}", where="tinsmith export", next_step="leave it out"
            )


def _hub(
    bundle: Path, root: Path, out: Path, job: str | None, format: str | None, with_exam: bool
) -> list[str]:
    from tinsmith.handover.lm_eval_task import write_exam
    from tinsmith.handover.model_card import write_model_card

    gguf = find_gguf(root, format)
    shutil.copyfile(gguf, out / gguf.name)
    tasks: list[str] = []
    if with_exam:
        (out / "lm_eval").mkdir()
        tasks = write_exam(bundle, out / "lm_eval", job)
        if not tasks:
            (out / "lm_eval").rmdir()
    write_model_card(bundle, out, job=job, tasks=tasks)
    if tasks:
        asked = (
            f"lm_eval/ has the exam ({', '.join(tasks)}), and with it texts of your own that were held out"
        )
    elif with_exam:
        asked = "it has no exam to ask again"
    else:
        asked = "the exam was left out, since it holds texts of your own; --with-exam writes it"
    return ["README.md is the model card: read it before you publish anything", asked]


def _root(bundle: Path, job: str | None) -> Path:
    root = bundle / "jobs" / job if job else bundle
    if not (bundle / "evidence.json").is_file():
        raise BundleError(
            "holds no evidence.json",
            where=str(bundle),
            next_step="name the directory bundle of a finished build",
        )
    if not (root / "model").is_dir():
        jobs = sorted(path.parent.name for path in bundle.glob("jobs/*/job.json"))
        raise BundleError(
            f"has no model of {'the job ' + job if job else 'documents'}",
            where=str(bundle),
            next_step=f"choose one with --job: {', '.join(jobs)}" if jobs else "build it again",
        )
    return root
