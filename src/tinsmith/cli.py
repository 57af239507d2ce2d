"""The command line: parses, calls, prints. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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

RecipePath = Annotated[Path, typer.Argument(help="A recipe in TOML.")]
BundlePath = Annotated[Path, typer.Argument(help="A bundle, as `tinsmith build` makes it.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a field: section.field=value. May be repeated.")
]
Until = Annotated[str | None, typer.Option(help="Stop after this stage.")]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Directory to make; the recipe goes into it.")],
    documents: Annotated[str, typer.Option(help="Folder, file, glob or named corpus with your documents.")],
) -> None:
    """Write a commented recipe for your own documents."""
    from tinsmith.recipe.toml import write_recipe

    path = write_recipe(directory, documents)
    print(f"wrote {path}\nlook at it, then: tinsmith plan {path}")


@app.command()
def plan(recipe: RecipePath, set_: Overrides = None, until: Until = None) -> None:
    """Say stage by stage what is cached, what would run and why, and what it will take."""
    from tinsmith.pipeline.plan import describe_plan
    from tinsmith.recipe.toml import load_recipe

    print(describe_plan(load_recipe(recipe, tuple(set_ or ())), until))


@app.command()
def build(recipe: RecipePath, set_: Overrides = None, until: Until = None) -> None:
    """Run what is not yet done. May be stopped at any moment; the same command goes on.

    Under torchrun, several processes train together.
    """
    from tinsmith.base.launch import find_workers
    from tinsmith.base.progress import default_progress
    from tinsmith.pipeline.build import build as run
    from tinsmith.pipeline.build import follow
    from tinsmith.recipe.toml import load_recipe

    workers = find_workers(os.environ)
    with _one_voice(workers):
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
    """Make report.html and evidence.json anew from what the bundle holds."""
    from tinsmith.bundle import rebuild

    print(f"report: {rebuild(bundle).resolve()}")


@app.command()
def chat(
    bundle: BundlePath,
    format_: Annotated[str, typer.Option("--format", help="such as q4_k_m; empty takes the smallest.")] = "",
) -> None:
    """Chat with a bundle's model in the terminal."""
    from tinsmith.serve.chat import chat as talk

    talk(bundle, format=format_ or None)


@app.command()
def serve(
    bundle: BundlePath,
    host: Annotated[
        str, typer.Option(help="Address to listen on; loopback unless you say otherwise.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8080,
    api_key: Annotated[
        str | None, typer.Option(envvar="TINSMITH_API_KEY", help="Key that clients must send.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="such as q4_k_m; empty takes the smallest.")] = "",
) -> None:
    """Serve a bundle's model: OpenAI-compatible, with a page to try it at /."""
    from tinsmith.serve.api import serve as run

    run(bundle, host=host, port=port, api_key=api_key, format=format_ or None)


@app.command()
def verify(
    bundle: BundlePath,
    deep: Annotated[
        bool, typer.Option("--deep", help="Load the model and let it answer a sample of the exam again.")
    ] = False,
) -> None:
    """Check every hash of a bundle, and compute every figure again from the stored items."""
    from tinsmith.bundle import verify as check

    found = check(bundle, deep=deep)
    print(f"{bundle}: {found.files} files, {found.bytes / 1e6:,.0f} MB, every hash as written")
    print(f"{found.figures:,} figures computed again from the stored items, each as written")
    if deep:
        print(f"{found.items} items scored again by the model, each as written")


RunPath = Annotated[
    Path | None, typer.Option(help="Directory of a run; without it the only one below runs/.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


@app.command()
def trace(
    what: Annotated[
        str, typer.Argument(help="A passage, or a document: doc_id, path or file name; - reads.")
    ],
    run: RunPath = None,
    as_json: AsJson = False,
) -> None:
    """Say which documents a passage came from, or what became of a document."""
    from tinsmith.lineage.render import tell_trace
    from tinsmith.lineage.tables import find_run
    from tinsmith.lineage.trace import trace as look

    found = look(find_run(run), sys.stdin.read() if what == "-" else what)
    print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else tell_trace(found))


@app.command()
def forget(
    document: Annotated[str, typer.Argument(help="doc_id, path or file name.")],
    run: RunPath = None,
    reason: Annotated[str, typer.Option(help="Why, for the list; never write text of the document.")] = "",
    with_copies: Annotated[bool, typer.Option("--with-copies", help="Its near-duplicates too.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take it off the list again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Mark a document, say what bears it; the next build runs without it."""
    from tinsmith.lineage.forget import forget as mark
    from tinsmith.lineage.forget import remember
    from tinsmith.lineage.render import tell_forgotten
    from tinsmith.lineage.tables import find_run

    root = find_run(run)
    if undo:
        print("the next build reads again: " + ", ".join(remember(root, document)))
        return
    found = mark(root, document, reason=reason, with_copies=with_copies)
    print(json.dumps(found, ensure_ascii=False, indent=2) if as_json else tell_forgotten(found, document))


@app.command()
def models() -> None:
    """List named models and corpora: licence, size, hash, whether cached."""
    from tinsmith.base.assets import KNOWN, is_cached

    for named in KNOWN.values():
        state = "cached" if is_cached(named.name) else "not fetched yet"
        print(f"{named.name:20} {named.kind:7} {named.megabytes:>5} MB  {state:16} {named.licence}")
        print(f"{'':20} {named.about}; {named.attribution}; sha256 {named.sha256[:16]}...")


@app.command()
def doctor() -> None:
    """Say what this machine can do, and what is missing."""
    from tinsmith.doctor import examine

    for finding in examine():
        print(f"{finding.mark:8} {finding.what}: {finding.result}")


@contextmanager
def _one_voice(workers: WorkerGroup | None) -> Iterator[None]:
    """Tell that a build was stopped, or why; of several processes the first to fail tells, for all of them."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        first = workers is None or workers.first_to_fail()
        if isinstance(error, KeyboardInterrupt):
            if workers is None or workers.is_main:
                print("\nstopped; what is done is kept. The same command goes on from here.", file=sys.stderr)
            raise typer.Exit(130) from None
        if not first:
            raise typer.Exit(1) from None
        raise


def main() -> NoReturn:
    """Run the command line; print a person's mistakes without a traceback."""
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
