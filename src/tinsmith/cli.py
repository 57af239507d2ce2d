"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from tinsmith.base.launch import WorkerGroup

app = typer.Typer(
    name="tinsmith",
    help="Turn your own documents into a small language model, and prove what it is worth.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[Path, typer.Argument(help="The recipe, a TOML file.")]
BundlePath = Annotated[Path, typer.Argument(help="The bundle directory that `tinsmith build` made.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a field of the recipe: section.field=value. Repeatable."),
]


class Tool(StrEnum):
    """What a model is handed over to."""

    OLLAMA = "ollama"
    HUB = "hub"
    VLLM = "vllm"


class JobKind(StrEnum):
    """The kinds of a job."""

    CLASSIFY = "classify"
    EXTRACT = "extract"
    ANSWER = "answer"
    WRITE = "write"


Until = Annotated[str | None, typer.Option(help="Stop after this stage, such as tokenize.")]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Directory to create for the recipe.")],
    documents: Annotated[
        str, typer.Option(help="Your documents: a folder, file, glob or named corpus.")
    ] = "",
    job: Annotated[
        JobKind | None, typer.Option(help="The kind of a job that is learnt from examples.")
    ] = None,
    examples: Annotated[
        str, typer.Option(help="Its examples: a CSV, JSON Lines, JSON or Parquet file with a header.")
    ] = "",
    test: Annotated[
        str, typer.Option(help="A file of rows to be examined on; default: some are held out.")
    ] = "",
    label: Annotated[str, typer.Option(help="The column of the answer; default: the only likely one.")] = "",
    input_: Annotated[
        str,
        typer.Option("--input", help="What the model reads, such as '{title}: {text}'; default: the texts."),
    ] = "",
) -> None:
    """Write a commented recipe for your own documents, or for a job after a look at its examples."""
    from tinsmith.base.errors import RecipeError

    if job is None:
        from tinsmith.recipe.toml import write_recipe

        if not documents or examples or test or label or input_:
            raise RecipeError(
                "there is nothing to write a recipe for" if not documents else "examples are those of a job",
                where="tinsmith init",
                next_step="give --documents PATH, or --job classify --examples FILE",
            )
        path = write_recipe(directory, documents)
    else:
        from tinsmith.corpus.text.language import identify
        from tinsmith.jobs.propose import Wanted, propose

        if not examples:
            raise RecipeError("a job needs examples", where="tinsmith init", next_step="give --examples FILE")
        wanted = Wanted(job.value, examples, test, label, input_, documents)
        path, proposal = propose(directory, wanted, identify)
        for found in proposal.found:
            print(f"found {found}")
        for warning in proposal.warnings:
            print(f"note: {warning}")
    print(f"wrote {path}\nread it, then run: tinsmith plan {shlex.quote(str(path))}")


@app.command()
def plan(recipe: RecipePath, set_: Overrides = None, until: Until = None) -> None:
    """Show which stages would run, why, and what they will take."""
    from tinsmith.pipeline.describe import describe_plan
    from tinsmith.recipe.toml import load_recipe

    print(describe_plan(load_recipe(recipe, tuple(set_ or ())), until))


@app.command()
def build(recipe: RecipePath, set_: Overrides = None, until: Until = None) -> None:
    """Run the stages that are not done yet. Stop it at any time; the same command continues.

    Under torchrun, several processes train together.
    """
    from tinsmith.base.launch import find_workers
    from tinsmith.base.progress import default_progress
    from tinsmith.pipeline.build import build as run
    from tinsmith.pipeline.build import follow
    from tinsmith.recipe.toml import load_recipe

    workers = find_workers(os.environ)
    with _report_once(workers):
        if workers and not workers.is_main:
            follow(workers)
            return
        root = run(
            load_recipe(recipe, tuple(set_ or ())), progress=default_progress(), until=until, workers=workers
        )
        if workers:
            workers.call(None)
    page = root / "bundle" / "report.html"
    print(f"report: {page.resolve()}" if until in (None, "report") else f"stages: {root.resolve()}")


@app.command()
def report(bundle: BundlePath) -> None:
    """Rebuild report.html and evidence.json of a bundle."""
    from tinsmith.bundle import rebuild

    print(f"report: {rebuild(bundle).resolve()}")


@app.command()
def chat(
    bundle: BundlePath,
    format_: Annotated[
        str, typer.Option("--format", help="GGUF format, such as q4_k_m; default: the smallest.")
    ] = "",
) -> None:
    """Chat with a bundle's model in the terminal."""
    from tinsmith.serve.chat import chat as talk

    talk(bundle, format=format_ or None)


@app.command()
def serve(
    bundle: BundlePath,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 picks a free one.")] = 8080,
    api_key: Annotated[
        str | None, typer.Option(envvar="TINSMITH_API_KEY", help="Key that clients must send; default: none.")
    ] = None,
    format_: Annotated[
        str, typer.Option("--format", help="GGUF format, such as q4_k_m; default: the smallest.")
    ] = "",
) -> None:
    """Serve a bundle's model as an OpenAI-compatible API.

    A page at / lets you try the model in a browser.
    """
    from tinsmith.serve.api import serve as run

    run(bundle, host=host, port=port, api_key=api_key, format=format_ or None)


@app.command()
def run(
    bundle: BundlePath,
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="CSV, JSON Lines, Parquet, or a folder of documents.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .csv, .jsonl or .parquet.")],
    job: Annotated[str, typer.Option(help="The job, where the bundle has several.")] = "",
    format_: Annotated[
        str, typer.Option("--format", help="GGUF format, such as q4_k_m; default: the smallest.")
    ] = "",
    ask_a_person: Annotated[
        float | None,
        typer.Option(help="Share of given answers that must be right; the rest goes to a person."),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probability of each label.")
    ] = False,
) -> None:
    """Answer every row of a file with a finished job. Stop it at any time; the same command continues."""
    from tinsmith.base.progress import default_progress
    from tinsmith.run_job import Options, run_job

    options = Options(job, format_ or None, ask_a_person, probabilities)
    try:
        ran = run_job(bundle, source, output, options, default_progress())
    except KeyboardInterrupt:
        print("\nstopped; answered rows are kept. The same command continues from here.", file=sys.stderr)
        raise typer.Exit(130) from None
    print(
        f"{output}: {ran.rows:,} rows, {ran.repeated:,} of them like an earlier one; "
        f"{ran.for_a_person:,} for a person, {ran.withheld:,} without an answer"
    )
    if ran.rejects:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in ran.rejects.items())
        print(f"not asked: {reasons}; {ran.rejects_file} names them")


@app.command()
def verify(
    bundle: BundlePath,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also let the model and its GGUF files score a sample again; takes minutes."
        ),
    ] = False,
) -> None:
    """Check a bundle's hashes and recompute all its figures.

    Figures are recomputed from the items stored in the bundle. What nothing in it can prove is listed by name.
    """
    from tinsmith.bundle import verify as check

    checked = check(bundle, deep=deep)
    print(f"{bundle}: {checked.files} files, {checked.bytes / 1e6:,.0f} MB, every hash matches")
    print(f"{checked.figures:,} figures recomputed from the stored items, all match")
    if not checked.sentences:
        print("the report's sentences were written by an earlier version and were not compared")
    if again := checked.again:
        models = ", ".join(again.subjects)
        print(f"{again.scores} texts and questions scored again on {again.device} by {models}; all match")
        print("every GGUF file agrees with the model in llama.cpp, by the recipe's bounds")
    print("taken on trust, since nothing in the bundle proves it (a signature could; bundles have none yet):")
    for line in checked.trust:
        print(f"  {line}")


@app.command()
def export(
    bundle: BundlePath,
    directory: Annotated[Path, typer.Argument(help="Directory to create.")],
    to: Annotated[Tool, typer.Option(help="The tool that shall run it.")],
    job: Annotated[str, typer.Option(help="The model of this job; default: that of the documents.")] = "",
    format_: Annotated[
        str, typer.Option("--format", help="GGUF format, such as q4_k_m; default: the smallest.")
    ] = "",
    with_exam: Annotated[
        bool,
        typer.Option("--with-exam", help="For the hub: also write the exam, with texts that were held out."),
    ] = False,
) -> None:
    """Hand a model over: a Modelfile for Ollama, a model card for the hub, a directory for vLLM."""
    from tinsmith.handover.command import export as hand_over

    options = {"job": job or None, "format": format_ or None}
    for note in hand_over(bundle, directory, to.value, **options, with_exam=with_exam):
        print(note)
    print(f"wrote {directory}")


@app.command()
def parity(
    a: Annotated[
        str, typer.Argument(metavar="A", help="The model as it should be: a directory, an adapter or a GGUF.")
    ],
    b: Annotated[
        str, typer.Argument(metavar="B", help="The other: one of these, or the address of a running server.")
    ],
) -> None:
    """Compare any two models, also of other tools, and name what differs. Ends with 1 if something does.

    The server speaks OpenAI's protocol: llama.cpp's, vLLM, Ollama. Its key is read from TINSMITH_API_KEY.
    """
    from tinsmith.base.progress import default_progress
    from tinsmith.parity.command import compare

    found = compare(a, b, default_progress())
    for finding in found.findings:
        print(f"{finding.kind}: {finding.text}")
    for note in found.notes:
        print(f"note: {note}")
    if figures := found.figures:
        print(
            f"answers: mean KL {figures.mean_kl:.4f} nats (at most {figures.bound_kl:g} for these formats), the same "
            f"likeliest token at {figures.top1:.1%} of {figures.positions} positions"
        )
    if found.findings:
        raise typer.Exit(1)
    print("no difference was found beyond what rounding explains")


RunPath = Annotated[Path | None, typer.Option(help="Directory of a run; default: the only one in runs/.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the full result as JSON.")]


@app.command()
def trace(
    what: Annotated[
        str,
        typer.Argument(help="A passage, or a document's doc_id, path or file name; - reads standard input."),
    ],
    run: RunPath = None,
    as_json: AsJson = False,
) -> None:
    """Show where a passage came from, or what became of a document."""
    from tinsmith.lineage.render import render_trace
    from tinsmith.lineage.tables import find_run
    from tinsmith.lineage.trace import trace as look

    result = look(find_run(run), sys.stdin.read() if what == "-" else what)
    print(json.dumps(result, ensure_ascii=False, indent=2) if as_json else render_trace(result))


@app.command()
def forget(
    document: Annotated[str, typer.Argument(help="The document's doc_id, path or file name.")],
    run: RunPath = None,
    reason: Annotated[str, typer.Option(help="Reason to record; do not quote the document.")] = "",
    with_copies: Annotated[
        bool, typer.Option("--with-copies", help="Also forget its near-duplicates.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Remove it from the list again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Leave a document out of the next build.

    Also shows which files, models and bundles it is part of.
    """
    from tinsmith.lineage.forget import forget as mark
    from tinsmith.lineage.forget import remember
    from tinsmith.lineage.render import render_forgotten
    from tinsmith.lineage.tables import find_run

    root = find_run(run)
    if undo:
        print("the next build will include again: " + ", ".join(remember(root, document)))
        return
    result = mark(root, document, reason=reason, with_copies=with_copies)
    print(json.dumps(result, ensure_ascii=False, indent=2) if as_json else render_forgotten(result, document))


@app.command()
def models() -> None:
    """List the named models and corpora with licence and hash."""
    from tinsmith.base.assets import KNOWN, is_cached

    for named in KNOWN.values():
        state = "cached" if is_cached(named.name) else "not downloaded"
        print(f"{named.name:20} {named.kind:7} {named.megabytes:>5} MB  {state:16} {named.licence}")
        print(f"{'':20} {named.about}; {named.attribution}; sha256 {named.sha256[:16]}...")


@app.command()
def doctor() -> None:
    """Check what this machine can do and what is missing."""
    from tinsmith.doctor import examine

    for finding in examine():
        print(f"{finding.mark:8} {finding.what}: {finding.result}")


@contextmanager
def _report_once(workers: WorkerGroup | None) -> Iterator[None]:
    """Report once why a build stopped: of several processes, only the first to fail reports."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        first = workers is None or workers.first_to_fail()
        if isinstance(error, KeyboardInterrupt):
            if workers is None or workers.is_main:
                print(
                    "\nstopped; finished work is kept. The same command continues from here.", file=sys.stderr
                )
            raise typer.Exit(130) from None
        if not first:
            raise typer.Exit(1) from None
        raise


def main() -> NoReturn:
    """Run the command line; print mistakes of the user without a traceback."""
    from tinsmith.base.errors import TinsmithError

    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except TinsmithError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if not error.filename:
            raise
        advice = "check that it exists and that you may read and write it"
        print(f"error: {error.filename}: {error.strerror}\n  -> {advice}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def _terminate(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
