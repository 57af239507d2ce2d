import pytest
import torch

from helpers import ROOT
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


def test_what_is_allowed_is_what_the_page_says():
    text = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    kinds = (rescore._SAME_NATS, rescore._SAME_SHARE, rescore._SAME_BITS, rescore._SAME_SUM)
    allowed = {precision: tuple(kind[precision] for kind in kinds) for precision in ("bfloat16", "float32")}
    assert allowed == {"bfloat16": (0.5, 0.03, 0.02, 0.005), "float32": (0.02, 0, 0.001, 0.0005)}
    assert "half a nat and 3% of a choice, 2% of a document's bits and 0.5% of all bits together" in text
    assert "For others it allows 0.02 nats, 0.1% and 0.05%." in text
    assert f"a fresh sample of {rescore._SAMPLE} texts and {rescore._SAMPLE} questions" in text
