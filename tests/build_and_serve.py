"""Build a recipe whole, serve its bundle and ask it once: what the test of the cut-off network runs."""

import subprocess
import sys
import time
from pathlib import Path

import httpx

recipe, runs = sys.argv[1:]
subprocess.run([sys.executable, "-m", "tinsmith", "build", recipe, "--set", f"runs={runs}"], check=True)
bundle = Path(runs) / Path(recipe).stem / "bundle"
server = subprocess.Popen([sys.executable, "-m", "tinsmith", "serve", str(bundle), "--port", "18080"])
try:
    for _ in range(240):
        try:
            answer = httpx.post(
                "http://127.0.0.1:18080/v1/completions",
                json={"prompt": "The licence", "max_tokens": 4},
                timeout=60,
            )
            if answer.status_code == 200:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    assert answer.status_code == 200
    print("answered", answer.json()["choices"][0]["text"])
finally:
    server.terminate()
    server.wait(30)
