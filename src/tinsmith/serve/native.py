"""Run llama.cpp's server as a child process: read settings from standard input, print the address.

It ends when its standard input closes, so it never outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Read one line of JSON settings, start the server, print one line {"address"}, wait for the end of input."""
    answer = os.fdopen(os.dup(1), "w")
    # Send whatever the library prints to the log, away from the pipe to the parent.
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())

    from xllamacpp import Server

    server = Server(_parameters(settings))
    print(json.dumps({"address": server.listening_address}), file=answer, flush=True)
    sys.stdin.read()
    # Skip the server's destructor, which would wait for running generations.
    os._exit(0)


def _parameters(settings: dict[str, Any]) -> Any:
    from xllamacpp import CommonParams, llama_pooling_type

    params = CommonParams()
    params.model.path = settings["gguf"]
    params.model_alias = {settings["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free one
    params.api_keys = [settings["api_key"]]
    params.n_ctx = settings["context"]
    params.n_parallel = settings["slots"]
    params.kv_unified = settings["shared"]
    for processor in (params.cpuparams, params.cpuparams_batch):
        processor.n_threads = settings["threads"]
        # Do not let waiting threads spin, which would slow everything else down.
        processor.poll = 0
    params.ui = False
    params.endpoint_slots = False
    params.offline = True
    params.warmup = False
    params.fit_params = False
    params.verbosity = 1
    if not settings["hidden_states"]:
        params.cache_ram_mib = 0  # slots keep what they read; llama.cpp would keep 8 GB more of past prompts
    else:
        params.embedding = True
        params.pooling_type = llama_pooling_type.LLAMA_POOLING_TYPE_NONE
        # Hidden states of a prompt come from one physical batch, which is 512 tokens unless said otherwise.
        params.n_batch = params.n_ubatch = max(params.n_ubatch, settings["hidden_states"])
    return params


if __name__ == "__main__":
    main()
