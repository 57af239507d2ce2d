"""General tests are answered as lm-eval's own model answers them, item by item."""

import os

import pytest

from general_rows import NEEDS_LM_EVAL, ROWS, files_of_all_kinds
from small_models import byte_tokenizer, tiny_model
from tinsmith.evaluate.general_files import choose_general
from tinsmith.evaluate.lm_eval_runner import ask, harness, run
from tinsmith.evaluate.scoring.scorer import Scorer

pytestmark = NEEDS_LM_EVAL


@pytest.mark.parametrize(("family", "bos"), [("llama", False), ("gemma3", True), ("bloom", False)])
def test_it_answers_to_the_item_as_lm_evals_own_model_does(tmp_path, family, bos):
    model, tokenizer = tiny_model(family), byte_tokenizer(bos=bos)
    asked = choose_general(files_of_all_kinds(tmp_path), 3)
    ours = ask(Scorer(model, name=family), tokenizer, asked)
    with harness():
        from lm_eval.models.huggingface import HFLM

        peer = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=3, device="cpu")
        theirs = run(peer, asked)
    assert len(ours) == 6 * len(ROWS)
    for own, other in zip(ours, theirs, strict=True):
        assert own["scores"] == pytest.approx(other["scores"], abs=1e-3)
        assert own | {"scores": ()} == other | {"scores": ()}
        assert own["prediction"] == own["scores"].index(max(own["scores"]))
        assert own["correct"] == (own["prediction"] == own["answer"])
    assert {row["correct"] for row in ours} == {True, False}


def test_it_runs_without_network_and_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.delenv("HF_DATASETS_OFFLINE", raising=False)
    with harness():
        assert (os.environ["HF_HUB_OFFLINE"], os.environ["HF_DATASETS_OFFLINE"]) == ("1", "1")
    assert os.environ["HF_HUB_OFFLINE"] == "0"
    assert "HF_DATASETS_OFFLINE" not in os.environ
