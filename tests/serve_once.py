"""Serve a bundle and ask it once: what the test of the cut-off network runs."""

import subprocess
import sys
import time

import httpx

server = subprocess.Popen([sys.executable, "-m", "tinsmith", "serve", sys.argv[1], "--port", "18080"])
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
