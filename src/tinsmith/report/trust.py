"""What a bundle says that nothing in it can prove: taken on trust, by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch

from tinsmith.evidence.family import Family


@dataclass(frozen=True)
class OnTrust:
    """Files of a bundle, by patterns, and what they say that could be otherwise; the fields of evidence.json from it.

    Where the file `asked_from` is there, `verify --deep` asks a sample of it again.
    """

    files: tuple[str, ...]
    what: str
    fields: tuple[str, ...] = ()
    asked_from: str = ""


ON_TRUST = (
    OnTrust(
        ("recipe.json", "model/*", "gguf/*"),
        "that these weights were made by this recipe from these documents",
    ),
    OnTrust(
        ("manifests/*.json",),
        "seconds, joules and how they were measured, memory, attempts, machine, versions, models and corpora used, "
        "statistics of tokenizer and training",
        ("stages", "totals", "assets", "versions", "machines", "training"),
    ),
    OnTrust(
        (
            "data/log.jsonl",
            "data/schedule.jsonl",
            "data/runtime.json",
            "data/rollbacks.jsonl",
            "data/streamline.json",
        ),
        "loss, tokens and seconds of each training step, how steps were computed, and incidents; curve and sums follow "
        "from them",
        ("training",),
    ),
    OnTrust(
        (
            "data/funnel.jsonl",
            "data/files.json",
            "data/documents.json",
            "data/shared.jsonl",
            "data/curation/*",
        ),
        "how many files and documents each step took, dropped and found something in",
        ("funnel", "files", "documents", "shared", "curation"),
    ),
    OnTrust(
        ("data/overlap.*",),
        "which documents were held out, and how much of each stands in training text",
        ("overlap",),
    ),
    OnTrust(
        ("data/sent/*",),
        "which requests with text of documents left the machine, and that no others did",
        ("sent",),
    ),
    OnTrust(
        ("items/texts.jsonl", "items/questions.jsonl", "items/open.jsonl"),
        "that these are texts of the held-out documents; right answers of tasks and of your own questions",
    ),
    OnTrust(
        ("items/bits-*", "items/exam-*", "items/about-*"),
        "scores of base, rivals and baselines, which are not in the bundle; answers after examples",
    ),
    OnTrust(("items/bits-trained*",), "bits of our model and its files", asked_from="items/texts.jsonl"),
    OnTrust(
        ("items/exam-trained*",), "answers of our model and its files", asked_from="items/questions.jsonl"
    ),
    OnTrust(
        ("items/parity.jsonl", "data/parity.json"),
        "divergence of each export at each prompt; token ids, stop tokens and whole answers of the server",
        ("parity",),
        asked_from="data/parity.json",
    ),
    OnTrust(
        ("jobs/*/model/*", "jobs/*/gguf/*", "jobs/*/job.json", "jobs/*/words.json"),
        "that these weights and this calibration were learnt from the examples",
    ),
    OnTrust(
        ("jobs/*.jsonl", "jobs/*/rejects.json", "jobs/*/parity.json"),
        "what the examples of each job are like, how it was learnt, and that its files agree with its weights",
        ("job_files",),
    ),
    OnTrust(("items/jobs.jsonl",), "that these are rows of the test; their right answers"),
    OnTrust(
        ("items/job-*",),
        "what each system answered to a job, recorded answers and their prices, seconds and joules",
    ),
    OnTrust(("items/speed-*",), "seconds and joules of generated answers"),
    OnTrust(("items/generated-*",), "what each system answered in words, and its tokens"),
    OnTrust(
        ("data/metrics.json",),
        "notes, and why an audit could not run; names, licences and chat templates of the models; sizes of base and "
        "rivals",
        ("subjects", "notes", "gaps"),
    ),
    OnTrust(
        ("report.html", "pages/*"), "that the pages show evidence.json; `tinsmith report` draws them again"
    ),
)


def on_trust(files: Iterable[str], families: Iterable[Family], *, deep: bool) -> Iterator[str]:
    """Yield a line for each kind of file in a bundle that has to be believed: its names, and what it says."""
    names = list(files)
    asked = tuple(f"items/{family.kind}-*" for family in families if family.prepare)
    probes = OnTrust(asked, "answers of our model and its base in the audits, and what they were asked")
    for row in (*ON_TRUST, probes):
        found = [pattern for pattern in row.files if any(fnmatch(name, pattern) for name in names)]
        if found and not (deep and row.asked_from in names):
            yield f"{', '.join(found)}: {row.what}"
