"""Run benchmarks: `python -m benchmarks [NAME ...]`; see README.md beside this file."""

from __future__ import annotations

import argparse

from benchmarks import (
    agreement,
    bits_speed,
    curation_memory,
    curation_speed,
    extraction,
    fair,
    gpu,
    job_speed,
    jobs,
    languages,
    memory,
    parity,
    peers,
    planted,
    privacy,
    quality,
    rules_agreement,
    scoring,
    semantic,
    settings,
    soak,
    speed,
    synthesis,
    tenfold,
    tokenizers,
    worth,
)
from benchmarks.subjects import SUBJECTS

_NAMES = (
    "speed",
    "lora",
    "memory",
    "quality",
    "scratch",
    "settings",
    "gpu",
    "worth",
    "curation_speed",
    "curation_memory",
    "languages",
    "rules_agreement",
    "planted",
    "scoring",
    "synthesis",
    "semantic",
    "privacy",
    "extraction",
    "bits_speed",
    "fair",
    "tenfold",
    "agreement",
    "jobs",
    "job_speed",
    "parity",
    "tokenizers",
    "soak",
)


def main() -> None:
    """Parse the command line and run what it names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of {', '.join(_NAMES)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="tiny runs that only show that everything works")
    parser.add_argument(
        "--megabytes",
        type=int,
        default=0,
        help="of text, for curation_speed (100) and curation_memory (5,000)",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4, help="timed steps a round")
    parser.add_argument(
        "--tasks", default="blocks,documents", help="of speed and lora: blocks, documents or both"
    )
    parser.add_argument(
        "--precisions",
        default="",
        help="of speed and lora: float32, bfloat16 or both; all that are fast by default",
    )
    parser.add_argument("--append", action="store_true", help="add rounds to the results of the same commit")
    parser.add_argument("--subjects", default="", help="only the subjects of these names, by commas")
    parser.add_argument("--sweep", action="store_true", help="print speeds with micro-batches of 1, 2 and 4")
    parser.add_argument(
        "--groups", default="", help="of settings: only the trials of these groups, by commas"
    )
    parser.add_argument(
        "--scale", default="", choices=["", *worth.SCALES], help="of worth: what fits the machine"
    )
    parser.add_argument(
        "--prepare",
        action="store_true",
        help="of worth: only make what the runs need, to make them elsewhere",
    )
    parser.add_argument(
        "--keep", action="store_true", help="of privacy: the report prints these figures from now on"
    )
    parser.add_argument(
        "--data", default="", help="of jobs: a directory with the folders cuad, tat-qa and fomc"
    )
    parser.add_argument("--jobs", default=",".join(jobs.JOBS), help="of jobs: only these, by commas")
    parser.add_argument("--pip", default="", help="further flags for pip, such as an index of CPU builds")
    given = parser.parse_args()
    if unknown := set(given.names) - set(_NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(_NAMES)}")
    wanted = [part.strip() for part in given.subjects.split(",") if part.strip()]
    if unknown := set(wanted) - {subject.name for subject in SUBJECTS}:
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(s.name for s in SUBJECTS)}"
        )
    subjects = tuple(subject for subject in SUBJECTS if not wanted or subject.name in wanted)
    names = given.names or _NAMES
    if {"speed", "lora", "quality", "scratch"} & set(names):
        peers.install([subject.environment for subject in subjects], given.pip.split())
    for name in names:
        _run(name, subjects, given)


def _run(name: str, subjects: tuple[speed.Subject, ...], given: argparse.Namespace) -> None:
    if name in ("speed", "lora"):
        trainable = "all" if name == "speed" else "lora"
        name = f"{name}-{given.precisions}" if given.precisions else name
        plan = speed.Plan(
            trainable=trainable,
            rounds=1 if given.quick else given.rounds,
            steps=1 if given.quick else given.steps,
            append=given.append,
            subjects=subjects,
            tasks=tuple(given.tasks.split(",")),
            precisions=tuple(given.precisions.split(",")) if given.precisions else speed.precisions(),
        )
        if given.sweep:
            speed.sweep(plan)
        else:
            speed.run(f"{name}-quick" if given.quick else name, plan)
    elif name == "memory":
        memory.run()
    elif name == "settings":
        settings.run(tuple(each for each in given.groups.split(",") if each))
    elif name == "gpu":
        gpu.run()
    elif name == "curation_speed":
        size = 2 if given.quick else given.megabytes or 100
        curation_speed.run(megabytes=size, rounds=1 if given.quick else given.rounds, pip=given.pip.split())
    elif name == "curation_memory":
        curation_memory.run(10 if given.quick else given.megabytes or 5000)
    elif name == "languages":
        languages.run(quick=given.quick, pip=given.pip.split())
    elif name == "rules_agreement":
        rules_agreement.run(quick=given.quick, pip=given.pip.split())
    elif name == "planted":
        planted.run(quick=given.quick)
    elif name == "scoring":
        scoring.run(quick=given.quick)
    elif name == "synthesis":
        synthesis.run(quick=given.quick)
    elif name == "semantic":
        semantic.run(contracts=20 if given.quick else 300)
    elif name == "privacy":
        privacy.run(quick=given.quick, keep=given.keep, pip=given.pip.split())
    elif name == "extraction":
        extraction.run(quick=given.quick, pip=given.pip.split())
    elif name == "fair":
        fair.run(quick=given.quick)
    elif name == "tenfold":
        tenfold.run(quick=given.quick)
    elif name == "bits_speed":
        bits_speed.run(quick=given.quick)
    elif name == "agreement":
        agreement.run(quick=given.quick, rounds=given.rounds)
    elif name == "jobs":
        if not given.data:
            raise SystemExit("jobs needs --data DIR, with the folders cuad, tat-qa and fomc")
        jobs.run(data=given.data, jobs=given.jobs.split(","), quick=given.quick)
    elif name == "job_speed":
        job_speed.run(quick=given.quick)
    elif name == "parity":
        parity.run(quick=given.quick)
    elif name == "tokenizers":
        tokenizers.run(quick=given.quick)
    elif name == "soak":
        soak.run(quick=given.quick, rounds=given.rounds, append=given.append)
    elif name == "worth":
        worth.run("quick" if given.quick else given.scale or worth.fitting_scale(), train=not given.prepare)
    else:
        quality.run(name, quick=given.quick)


if __name__ == "__main__":
    main()
