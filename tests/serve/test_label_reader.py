"""Labels read by PyTorch: the few logits of a label are not rounded as the model is."""

from pathlib import Path

import pytest
import torch

from plain_references import sharp_gemma2
from tinsmith.jobs.labels import LabelTree
from tinsmith.serve.label_reader import LabelReader
from tinsmith.serve.prompt_reader import PromptReader
from tinsmith.tokens.tokenizer import load_tokenizer
from tinsmith.train.checkpoint import save_trained
from tiny_model import tiny_tokenizer, write_trained


def test_logits_of_labels_are_in_float32_where_the_model_is_bfloat16(tmp_path: Path) -> None:
    base = write_trained(tmp_path / "base")
    tokenizer = load_tokenizer(base)
    tree = LabelTree.of(tokenizer, ("fee", "duty"))
    reader = LabelReader(base, tree, torch.bfloat16)
    prompt = tokenizer.encode("one two red blue", add_special_tokens=False)
    (scores,) = reader.scores([prompt])
    branch = tree.branches[0]
    with torch.inference_mode():
        hidden = reader.reader.model.base_model(
            input_ids=torch.tensor([[*prompt, *branch.prefix]])
        ).last_hidden_state
        rows = reader.reader.model.get_output_embeddings().weight[list(branch.tokens)]
        exact = (hidden[0, -1].float() @ rows.float().T).log_softmax(0).tolist()
        rounded = (hidden[0, -1] @ rows.T).float().log_softmax(0).tolist()
    assert len(tree.branches) == 1
    assert sorted(scores.values()) == pytest.approx(sorted(exact), abs=1e-6)
    assert sorted(scores.values()) != pytest.approx(sorted(rounded), abs=1e-6)


def test_labels_and_tokens_of_a_capped_model_have_its_own_probabilities(tmp_path: Path) -> None:
    model, tokenizer = sharp_gemma2(0, size=400), tiny_tokenizer()
    save_trained(model, tokenizer, tmp_path / "base")
    tree = LabelTree.of(tokenizer, ("fee", "duty"))
    prompt = tokenizer.encode("one two red blue", add_special_tokens=False)
    (scores,) = LabelReader(tmp_path / "base", tree, torch.float32).scores([prompt])
    (branch,) = tree.branches
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *branch.prefix]])).logits[0, -1]
        whole = model(torch.tensor([prompt])).logits[0, -1].softmax(0)
    exact = logits[list(branch.tokens)].log_softmax(0).tolist()
    assert sorted(scores.values()) == pytest.approx(sorted(exact), abs=1e-5)
    likeliest = int(whole.argmax())
    found = PromptReader(tmp_path / "base", torch.float32).probabilities([prompt], likeliest)
    assert found == pytest.approx([float(whole[likeliest])], rel=1e-4)
