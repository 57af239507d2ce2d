import pytest
import torch

from tinsmith.base.errors import BundleError
from tinsmith.evaluate import rescore
from tinsmith.evidence.family import Items


def test_the_processor_is_kept_to_and_a_gpu_is_taken_only_where_there_is_one(tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(rescore, "choose_device", lambda name: chosen.append(name) or torch.device("cpu"))
    items = Items(tmp_path, tmp_path, tmp_path / "parity.jsonl", ("trained",))
    for device in ("cpu", "auto", "cuda"):
        with pytest.raises(BundleError, match="neither texts nor questions"):
            rescore.rescore(tmp_path, items, window=128, precision="float32", device=device)
    assert chosen == ["cpu", "auto", "auto"]
