"""Tiny models train fastest on one thread, above all on a busy machine."""

import pytest


@pytest.fixture(autouse=True)
def _on_one_thread(one_thread: None) -> None:
    """Ask for one thread in every test of this room."""
