"""A teacher over real HTTP that answers by rule, in each provider's published shape."""

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def answer(prompt: str) -> str:
    """Answer as a diligent model would: from the passage where there is one."""
    passage = prompt.partition("Passage:\n\n")[2].partition("\n\n")[0]
    words = passage.split()
    sentence = " ".join(words[:12])
    if "Write one question" in prompt:
        return json.dumps({"question": f"What follows {words[0]}?", "answer": sentence, "quote": sentence})
    if "section of a textbook" in prompt:
        return "Here it is:\n" + json.dumps(
            {"title": words[0], "text": f"It says: {passage}", "quote": sentence}
        )
    if "support every statement" in prompt:
        return "Yes."
    if "Answer from the passage alone" in prompt:
        return sentence
    if prompt.startswith("Question:"):
        return "UNKNOWN"
    return f"Score: {min(5, len(set(prompt.split())) // 40)}"


def _said(path: str, body: dict) -> tuple[str, Callable[[str], dict]]:
    """Return what was asked, and what makes the provider's reply of a text."""
    if path.endswith("/messages"):
        usage = {"input_tokens": 10, "output_tokens": 5}
        return body["messages"][-1]["content"], lambda text: {
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": usage,
        }
    if path.endswith(":generateContent"):
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 5}
        return body["contents"][-1]["parts"][0]["text"], lambda text: {
            "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": usage,
        }
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return body["messages"][-1]["content"], lambda text: {
        "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        "usage": usage,
    }


class RuleTeacher:
    """What the server saw, and how it behaves: answers, says rubbish, asks to be paid, or is slow."""

    def __init__(self) -> None:
        self.url = ""
        # The same server under an address that is not a loopback one: it counts as another machine.
        self.remote_url = ""
        self.asked: list[tuple[str, dict[str, str], str]] = []  # path, headers, prompt
        self.bodies: list[str] = []
        self.answer: Callable[[str], str] = answer
        self.status, self.seconds, self.failing = 200, 0.0, 0

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        self.bodies.append(handler.rfile.read(int(handler.headers["content-length"])).decode())
        body = json.loads(self.bodies[-1])
        prompt, shaped = _said(handler.path, body)
        self.asked.append((handler.path, {k.lower(): v for k, v in handler.headers.items()}, prompt))
        time.sleep(self.seconds)
        status = 503 if len(self.asked) <= self.failing else self.status
        reply = shaped(self.answer(prompt)) if status == 200 else {"error": {"message": "payment required"}}
        data = json.dumps(reply).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            handler.wfile.write(data)


@contextlib.contextmanager
def rule_teacher() -> Iterator[RuleTeacher]:
    """Serve on a free port of this machine."""
    teacher = RuleTeacher()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            teacher.handle(self)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    teacher.url = f"http://127.0.0.1:{server.server_address[1]}"
    teacher.remote_url = f"http://0.0.0.0:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield teacher
    finally:
        server.shutdown()
        server.server_close()


def score_of(prompt: str) -> float:
    """Return the rating that the rules give."""
    return float(re.sub(r"\D", "", answer(prompt)) or 0)
