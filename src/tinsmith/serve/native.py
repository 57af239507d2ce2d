"""The child process that runs llama.cpp's server: settings come on standard input, its address goes out.

It ends when its standard input closes, so it never outlives the process that started it, however that ends.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Start the server from one line of JSON, print one line {"address"}, wait for the end of input."""
    answer = os.fdopen(os.dup(1), "w")
    # Whatever the library prints belongs into the log, not between us and the parent.
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())

    from xllamacpp import Server

    server = Server(_parameters(settings))
    print(json.dumps({"address": server.listening_address}), file=answer, flush=True)
    sys.stdin.read()
    # The server's own destructor waits for running generations; nobody does any more.
    os._exit(0)


def _parameters(settings: dict[str, Any]) -> Any:
    from xllamacpp import CommonParams, llama_pooling_type

    params = CommonParams()
    params.model.path = settings["gguf"]
    params.model_alias = {settings["alias"]}
    params.hostnames = [settings["host"]]
    params.port = settings["port"]
    params.api_keys = [settings["api_key"]] if settings["api_key"] else []
    params.n_ctx = settings["context"]
    params.n_parallel = settings["slots"]
    params.kv_unified = True
    for processor in (params.cpuparams, params.cpuparams_batch):
        processor.n_threads = settings["threads"]
        # Waiting threads that spin take the processor from whoever else computes.
        processor.poll = 0
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.warmup = False
    params.fit_params = False
    params.verbosity = 1
    if settings["hidden_states"]:
        params.embedding = True
        params.pooling_type = llama_pooling_type.LLAMA_POOLING_TYPE_NONE
    return params


if __name__ == "__main__":
    main()
