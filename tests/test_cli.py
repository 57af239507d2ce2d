"""What a person types and reads."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from helpers import SMOKE, tinsmith
from tinsmith.base.errors import RecipeError
from tinsmith.cli import app
from tinsmith.recipe.toml import load_recipe

HEAVY = ("torch", "transformers", "daft", "numpy", "pydantic", "rich", "matplotlib")


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from tinsmith.cli import app\n"
        "result = CliRunner().invoke(app, ['--help'])\n"
        "assert result.exit_code == 0\n"
        "print(result.output)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
    for verb in (
        "init",
        "plan",
        "build",
        "report",
        "chat",
        "serve",
        "verify",
        "trace",
        "forget",
        "models",
        "doctor",
    ):
        assert f"  {verb} " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("build", "nowhere.toml"), ("nowhere.toml", "no such recipe", "tinsmith init")),
        (("build", SMOKE, "--set", "train.lrr=1"), ("train.lrr", "unknown field")),
        (("build", SMOKE, "--until", "trian"), ("unknown stage 'trian'", "tokenize, train")),
        (("plan", SMOKE, "--set", "ingest.sources=['no/such/folder']"), ("no/such/folder",)),
        (("plan", SMOKE, "--set", "model.scratch=llama"), ("model.scratch", "llama@15m")),
        (
            ("plan", SMOKE, "--set", f"evaluate.questions=['{__file__}']"),
            ("test_cli.py, line 1: is not JSON",),
        ),
        (
            ("build", SMOKE, "--set", f"evaluate.questions=['{__file__}']"),
            ("test_cli.py, line 1: is not JSON",),
        ),
        (("verify", "/"), ("is not a bundle",)),
        (("report", "/"), ("is not a bundle",)),
        (("serve", "/no/bundle"), ("/no/bundle",)),
        (("chat", "/no/bundle"), ("/no/bundle",)),
        (("init", "/tmp", "--documents", "/no/such/documents"), ("/no/such/documents",)),
    ],
)
def test_a_mistake_is_named_without_a_traceback(arguments, words, tmp_path):
    runs = ("--set", f"runs={tmp_path}") if arguments[0] in ("build", "plan") else ()
    result = tinsmith(*arguments, *runs)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def test_models_show_licence_and_hash():
    result = tinsmith("models")
    assert result.returncode == 0
    for word in (
        "smollm2-135m",
        "Apache-2.0",
        "gemma-3-270m",
        "Gemma Terms of Use",
        "CC-BY-4.0",
        "sha256 b179c952",
    ):
        assert word in result.stdout


def test_doctor_says_what_was_found():
    result = tinsmith("doctor")
    assert result.returncode == 0, result.stderr
    for word in ("Python", "processor", "C++ compiler", "PyTorch", "energy meter", "smollm2-135m"):
        assert word in result.stdout


def test_from_ones_own_folder_to_a_plan(tmp_path):
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "a.txt").write_text("A document. " * 100)
    made = tinsmith("init", tmp_path / "mine", "--documents", documents)
    assert made.returncode == 0, made.stderr
    planned = tinsmith("plan", tmp_path / "mine" / "recipe.toml")
    assert planned.returncode == 0, planned.stderr
    assert planned.stdout.count("to run") == 10  # nine stages and the sum
    (head,) = [line.split() for line in planned.stdout.splitlines() if line.startswith("stage ")]
    assert head == ["stage", "state", "minutes", "tokens", "disk", "memory", "why"]
    assert "leaves     no text" in planned.stdout


def test_from_ones_own_examples_to_a_recipe(tmp_path):
    rows = [f"sentence number {n} of the committee,{('hawkish', 'dovish')[n % 2]}" for n in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(["text,stance", *rows]))
    runner = CliRunner()
    arguments = [
        "init",
        str(tmp_path / "stance"),
        "--job",
        "classify",
        "--examples",
        str(tmp_path / "train.csv"),
    ]
    made = runner.invoke(app, arguments)
    assert made.exit_code == 0, made.output
    assert "found 2 labels in stance: hawkish 20, dovish 20" in made.output
    assert "examples to learn from are few" in made.output
    assert made.output.endswith(f"tinsmith plan {tmp_path / 'stance' / 'recipe.toml'}\n")
    [job] = load_recipe(tmp_path / "stance" / "recipe.toml").jobs
    assert (job.name, job.kind, job.examples) == ("stance", "classify", (str(tmp_path / "train.csv"),))
    for options, said in (
        ([], "there is nothing to write a recipe for"),
        (["--job", "classify"], "a job needs examples"),
        (["--examples", "a.csv", "--documents", "b"], "examples are those of a job"),
    ):
        refused = runner.invoke(app, ["init", str(tmp_path / "other"), *options])
        assert isinstance(refused.exception, RecipeError)
        assert said in str(refused.exception)
