"""Serve a model over HTTP: OpenAI's routes, and a page to try the model.

This service stands before llama.cpp's server, which has dozens of routes, answers any web page (CORS *) and compares
keys byte by byte. It takes markup that a person typed for the model's own, and ends all answers when they do not fit
together. So that server listens on loopback under a random key, and this one offers few routes, no CORS, and a key
compared in constant time; it makes the tokens itself and sends a request when there is room for it. On loopback it
answers only requests for a loopback name, which stops web pages that rebind a host name.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tinsmith.base.errors import RunError, TinsmithError
from tinsmith.base.files import JsonObject
from tinsmith.gguf.vocabulary import read_vocabulary
from tinsmith.serve.answering import Answering, BackendError
from tinsmith.serve.completions import chat, complete, error_body
from tinsmith.serve.find_bundle import expect_bundle
from tinsmith.serve.job_api import Jobs, asked_in_chat, asked_of, completion
from tinsmith.serve.requests import BadRequest, read_chat, read_json_object
from tinsmith.serve.room import SLOTS, context_for
from tinsmith.serve.runtime import LlamaServer, find_gguf

# The page may only connect to the server that it came from.
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
_MAX_BODY_BYTES = 8_000_000
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class _Refusal(Exception):
    """An error response in OpenAI's format."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def create_app(
    backend: LlamaServer | None,
    *,
    api_key: str | None,
    hosts: frozenset[str] | None = None,
    jobs: Jobs | None = None,
    plain_chats: bool = False,
) -> FastAPI:
    """Return the app for a running server, for jobs, or for both.

    `hosts` are the only host names that it answers to (None: any). With `plain_chats`, a model without a chat template
    is asked conversations as plain text.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if backend:
                app.state.answering = await stack.enter_async_context(Answering(backend, plain_chats))
            yield
        if jobs:
            jobs.close()

    async def guard(request: Request) -> None:
        _check_host(request, hosts)
        if request.url.path.startswith("/v1/"):
            _check_key(request, api_key)

    app = FastAPI(
        lifespan=lifespan, dependencies=[Depends(guard)], docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.model, app.state.started = backend.settings["alias"] if backend else None, int(time.time())
    app.state.jobs = jobs.specs if jobs else {}
    _add_errors(app, guard)
    _add_routes(app, jobs, needs_key=bool(api_key))
    return app


def _add_errors(app: FastAPI, guard: Callable[[Request], Awaitable[None]]) -> None:
    """Answer every error in OpenAI's shape."""

    def reply(status: int, message: str, **more: str | None) -> Response:
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return JSONResponse(error_body(message, kind=kind, **more), status)

    @app.exception_handler(_Refusal)
    async def refuse(request: Request, refusal: _Refusal) -> Response:
        return reply(refusal.status, str(refusal), code=refusal.code)

    @app.exception_handler(BadRequest)
    async def refuse_body(request: Request, bad: BadRequest) -> Response:
        return reply(400, str(bad), field=bad.field, code=bad.code)

    @app.exception_handler(BackendError)
    async def tell_backend(request: Request, error: BackendError) -> Response:
        return reply(502, str(error))

    @app.exception_handler(TinsmithError)
    async def tell(request: Request, error: TinsmithError) -> Response:
        return reply(500, error.what)

    @app.exception_handler(ClientDisconnect)
    async def tell_nobody(request: Request, error: ClientDisconnect) -> Response:
        return reply(400, "the body was not sent to its end")

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> Response:
        try:
            await guard(request)
        except _Refusal as refusal:
            return await refuse(request, refusal)
        path = request.url.path
        if error.status_code == 404:
            message = f"unknown route {path}; see /v1/models, /v1/chat/completions, /v1/jobs"
            return reply(404, message, code="unknown_url")
        allowed = (error.headers or {}).get("Allow", "another method")
        found = reply(error.status_code, f"{path} takes {allowed}, not {request.method}")
        found.headers.update(error.headers or {})
        return found


def _add_routes(app: FastAPI, jobs: Jobs | None, *, needs_key: bool) -> None:
    page = files("tinsmith.serve").joinpath("page/index.html").read_text(encoding="utf-8")

    @app.get("/")
    async def index() -> Response:
        headers = {"Content-Security-Policy": _PAGE_POLICY, "X-Content-Type-Options": "nosniff"}
        return HTMLResponse(page, headers=headers)

    @app.get("/health")
    async def health() -> dict[str, Any]:
        chats = app.state.model is not None and app.state.answering.prompts.chats
        facts = {"needs_key": needs_key, "chats": chats, "model": app.state.model}
        return {"status": "ok", **facts, "jobs": list(app.state.jobs)}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [_model_entry(app, name) for name in _names(app)]}

    @app.get("/v1/models/{name}")
    async def one_model(name: str) -> dict[str, Any]:
        _check_model(app, name)
        return _model_entry(app, name)

    @app.post("/v1/chat/completions")
    async def post_chat(request: Request) -> Response:
        body = await _read_body(app, request)
        if jobs and (name := _job_of(app, body)):
            return await run_in_threadpool(_chat_with_job, jobs, name, body)
        if app.state.model is None:
            raise _Refusal(400, f"name one of the models {', '.join(_names(app))} in `model`", "no_model")
        return await chat(app.state.answering, app.state.model, request, body)

    @app.post("/v1/completions")
    async def post_completion(request: Request) -> Response:
        body = await _read_body(app, request)
        if app.state.model is None or body.get("model") in app.state.jobs:
            raise _Refusal(400, "a job is asked at /v1/jobs/NAME or /v1/chat/completions", "no_completion")
        return await complete(app.state.answering, app.state.model, request, body)

    @app.get("/v1/jobs")
    async def list_jobs() -> dict[str, Any]:
        return {"object": "list", "data": jobs.describe() if jobs else []}

    @app.post("/v1/jobs/{name}")
    async def ask_job(name: str, request: Request) -> Response:
        body = await _read_body(app, request)
        if jobs is None or name not in app.state.jobs:
            known = ", ".join(app.state.jobs) or "none"
            raise _Refusal(404, f"unknown job {name!r}; this server has {known}", "job_not_found")
        return await run_in_threadpool(_ask_job, jobs, name, body)


def serve(
    bundle_or_gguf: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key: str | None = None,
    format: str | None = None,
) -> None:
    """Serve a bundle's model or a GGUF file until Ctrl-C. Raises BundleError, AssetError, RunError."""
    expect_bundle(bundle_or_gguf)
    jobs = Jobs(bundle_or_gguf, format)
    general = not jobs.specs or (bundle_or_gguf / "gguf").is_dir()
    gguf = find_gguf(bundle_or_gguf, format) if general else None
    if gguf:
        read_vocabulary(gguf)  # an unknown one is refused before anything starts
    # Bind before loading the model, so that a port in use is reported at once.
    sock = _bind(host, port)
    with ExitStack() as stack:
        stack.enter_context(sock)
        backend = None
        if gguf:
            name = model_name(bundle_or_gguf, gguf)
            tokens, shared = context_for(gguf)
            server = LlamaServer(gguf, alias=name, context=tokens, slots=SLOTS, shared=shared)
            backend = stack.enter_context(server)
        hosts = _LOOPBACK_NAMES if _is_loopback(host) else None
        app = create_app(backend, api_key=api_key, hosts=hosts, jobs=jobs if jobs.specs else None)
        address, number = sock.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        what = " and ".join([*([gguf.name] if gguf else []), *(f"job {name}" for name in jobs.specs)])
        print(f"serving {what} on http://{shown}:{number} (Ctrl-C to stop)", flush=True)
        if jobs.specs:
            sizes = ", ".join(f"{name} {size / 1e6:,.0f} MB" for name, size in jobs.bytes.items())
            print(
                f"  a job's model is loaded when it is first asked: {sizes}, and memory for its prompts",
                flush=True,
            )
        if not _is_loopback(host) and not api_key:
            print(
                "  anyone who can reach this address can use the model; set --api-key to require a key",
                flush=True,
            )
        # An answer that is still streaming must not keep the server from stopping.
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        try:
            uvicorn.Server(config).run(sockets=[sock])
        except KeyboardInterrupt:
            print("stopped", flush=True)


def model_name(bundle_or_gguf: Path, gguf: Path) -> str:
    """Return the model's name in the API: run and format of a bundle, or the file's name."""
    if bundle_or_gguf.is_file():
        return gguf.stem
    directory = bundle_or_gguf.resolve()
    # In a run it is runs/NAME/bundle; a bundle that was moved takes its folder's name.
    run = directory.parent.name if directory.name == "bundle" else directory.name
    return f"{run}-{gguf.stem.removeprefix('model-')}"


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, type, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, type, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except (OSError, OverflowError) as error:
        raise RunError(
            f"cannot listen on this address ({error})",
            where=f"{host}:{port}",
            next_step="choose another --port",
        ) from error
    return sock


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_host(request: Request, hosts: frozenset[str] | None) -> None:
    if hosts is not None and request.url.hostname not in hosts:
        raise _Refusal(421, f"{request.url.hostname} is not a name of this server", "wrong_host")


def _check_key(request: Request, api_key: str | None) -> None:
    if not api_key:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    correct = hmac.compare_digest(given.strip().encode(), api_key.encode())
    if scheme.lower() != "bearer" or not correct:
        message = "wrong API key" if given else "no API key; send Authorization: Bearer KEY"
        raise _Refusal(401, message, "invalid_api_key")


def _names(app: FastAPI) -> list[str]:
    """Return the models of this server: the general one, and a model for each job by the job's name."""
    return [*([app.state.model] if app.state.model else []), *app.state.jobs]


def _check_model(app: FastAPI, name: str) -> None:
    if name not in _names(app):
        known = ", ".join(map(repr, _names(app)))
        raise _Refusal(404, f"unknown model {name!r}; this server has {known}", "model_not_found")


def _model_entry(app: FastAPI, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": app.state.started, "owned_by": "tinsmith"}


def _job_of(app: FastAPI, body: dict[str, Any]) -> str:
    """Return the job that a chat is with: the one that it names, or the only model of this server."""
    names = _names(app)
    named = body.get("model") or (names[0] if len(names) == 1 else "")
    return named if named in app.state.jobs else ""


def _ask_job(jobs: Jobs, name: str, body: dict[str, Any]) -> Response:
    given, listed = asked_of(body)
    answers = jobs.answer(name, given)
    return JSONResponse({"job": name, "answers": answers} if listed else {"job": name, **answers[0]})


def _chat_with_job(jobs: Jobs, name: str, body: dict[str, Any]) -> Response:
    asked = read_chat(body)
    (answer,) = jobs.answer(name, [asked_in_chat(asked)])
    identity = {"id": f"job-{secrets.token_hex(8)}", "created": int(time.time())}
    return JSONResponse(identity | completion(jobs.specs[name], answer, asked.response_format))


async def _read_body(app: FastAPI, request: Request) -> JsonObject:
    # A browser sends other types across origins without a preflight; for JSON it needs one, which is refused.
    media = request.headers.get("content-type", "").partition(";")[0].strip()
    if media.lower() != "application/json":
        raise _Refusal(415, "send application/json")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_BODY_BYTES:
            raise _Refusal(413, f"the request has more than {_MAX_BODY_BYTES:,} bytes")
    body = await run_in_threadpool(read_json_object, bytes(data))
    if (name := body.get("model")) is not None:
        if not isinstance(name, str):
            raise BadRequest("`model` must be a text", "model")
        _check_model(app, name)
    return body
