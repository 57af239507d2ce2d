"""A random model in llama.cpp's server, which writes whatever a grammar admits."""

import pytest


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Return a function that has a random model write under a grammar, at a temperature that tries everything."""
    from tinsmith.gguf.writer import write_gguf
    from tinsmith.serve.runtime import LlamaServer
    from tiny_model import write_trained

    directory = tmp_path_factory.mktemp("random")
    file = directory / "model-f16.gguf"
    write_gguf(write_trained(directory / "model"), file, "f16")
    with LlamaServer(file, context=512, threads=1) as running, running.client() as client:

        def written(grammar: str, seed: int) -> str | None:
            body = {
                "prompt": "x",
                "grammar": grammar,
                "seed": seed,
                "temperature": 3.0,
                "n_predict": 300,
                "cache_prompt": False,
            }
            reply = client.post("/completion", json=body).json()
            return reply["content"]

        yield written
