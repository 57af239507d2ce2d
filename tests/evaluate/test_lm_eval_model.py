"""Our scorer as a model of lm-eval: cut, and read in windows, as lm-eval's own model does."""

from types import SimpleNamespace

import pytest

from general_rows import NEEDS_LM_EVAL
from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.evaluate.lm_eval_runner import harness
from tinsmith.evaluate.scoring.scorer import Scorer

pytestmark = NEEDS_LM_EVAL


def test_what_is_too_long_loses_its_beginning_as_in_lm_eval():
    model, tokenizer = tiny_model(), byte_tokenizer()
    model.config.max_position_embeddings = 16
    requests = [
        SimpleNamespace(args=("a" * 15 + "b" * size, " the end"), task_name="t", doc_id=size)
        for size in range(14)
    ]
    with harness():
        from lm_eval.models.huggingface import HFLM

        from tinsmith.evaluate.lm_eval_model import ScorerLM

        ours = ScorerLM(Scorer(model, name="short"), tokenizer).loglikelihood(requests)
        theirs = HFLM(pretrained=model, tokenizer=tokenizer, device="cpu").loglikelihood(
            requests, disable_tqdm=True
        )
    assert [nats for nats, _ in ours] == pytest.approx([nats for nats, _ in theirs], abs=1e-3)


def test_a_whole_text_is_read_in_windows():
    model, tokenizer = tiny_model(), byte_tokenizer()
    text = "the thief went there"
    with harness():
        from tinsmith.evaluate.lm_eval_model import ScorerLM

        lm = ScorerLM(Scorer(model, name="tiny"), tokenizer)
        (found,) = lm.loglikelihood_rolling([SimpleNamespace(args=(text,))])
    tokens = [lm.prefix_token_id, *tokenizer.encode(text)]
    assert found == pytest.approx(sum(plain_log_probs(model, tokens)), abs=1e-3)
