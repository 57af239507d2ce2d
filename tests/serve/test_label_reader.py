"""Labels read by PyTorch: the few logits of a label are not rounded as the model is."""

from pathlib import Path

import pytest
import torch

from tinsmith.jobs.labels import LabelTree
from tinsmith.serve.label_reader import LabelReader
from tinsmith.tokens.tokenizer import load_tokenizer
from tiny_model import write_trained


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
