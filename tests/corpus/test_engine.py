import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"

# Runs a query with every way out watched; prints the attempts.
PROBE = """
import socket, threading
attempts = []
def refuse(*arguments, **named):
    attempts.append(arguments[-1] if arguments else "?")
    raise OSError("refused by the test")
socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
{imports}
rows = {module}.from_arrow(__import__("pyarrow").table({{"n": [1, 2, 3]}})).to_pydict()
assert rows == {{"n": [1, 2, 3]}}
for thread in threading.enumerate():
    if thread is not threading.current_thread():
        thread.join(5)
print(len(attempts))
"""
SPEAKING = ("DO_NOT_TRACK", "SCARF_NO_ANALYTICS", "DAFT_ANALYTICS_ENABLED")


def attempts_to_connect(imports: str, module: str, **more: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in SPEAKING} | more
    probe = PROBE.format(imports=imports, module=module)
    done = subprocess.run(
        [sys.executable, "-c", probe], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return int(done.stdout.split()[-1])


def test_the_engine_attempts_no_connection():
    assert attempts_to_connect("from tinsmith.corpus import engine", "engine") == 0


def test_the_probe_sees_what_the_engine_would_do_unsilenced():
    assert attempts_to_connect("import daft", "daft") > 0


def test_an_environment_that_asks_for_traces_is_not_heeded():
    code = (
        "import os, tinsmith.corpus.engine; print([n for n in os.environ if 'OTLP' in n or 'DASHBOARD' in n])"
    )
    environment = os.environ | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "DAFT_DASHBOARD_URL": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_nothing_else_imports_daft():
    importers = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if any(
            line.strip().startswith(("import daft", "from daft"))
            for line in path.read_text("utf-8").splitlines()
        )
    ]
    assert importers == ["tinsmith/corpus/engine.py"]
