"""One tiny GGUF for all tests of the server."""

from pathlib import Path

import pytest

from tinsmith.gguf.writer import write_gguf
from tiny_model import write_trained


@pytest.fixture(scope="session")
def bundle(tmp_path_factory) -> Path:
    """Return a directory with gguf/model-f16.gguf and gguf/model-q8_0.gguf of a tiny model that chats."""
    root = tmp_path_factory.mktemp("runs") / "tiny" / "bundle"
    model = write_trained(root / "model")
    for format in ("f16", "q8_0"):
        write_gguf(model, root / "gguf" / f"model-{format}.gguf", format)
    return root


@pytest.fixture(scope="session")
def mute_gguf(tmp_path_factory) -> Path:
    """Return a GGUF of a tiny model without a chat template."""
    root = tmp_path_factory.mktemp("mute")
    write_gguf(write_trained(root / "model", template=None), root / "mute.gguf", "f16")
    return root / "mute.gguf"
