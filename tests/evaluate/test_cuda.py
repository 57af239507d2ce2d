import random

import pytest
import torch

from small_models import byte_tokenizer, tiny_model
from tinsmith.evaluate.models import EvalModel, opened
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.model.load import choose_device

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU with CUDA here")


@pytest.fixture
def trees():
    """Chains of differing lengths, and one tree whose branches share a beginning."""
    draw, made = random.Random(0), []
    for length in (5, 40, 17):
        tree = Tree()
        tree.ask(tree.add([draw.randrange(1, 200) for _ in range(length)])[1:])
        made.append(tree)
    tree, start = Tree(), [draw.randrange(1, 200) for _ in range(12)]
    for _ in range(4):
        tree.ask(tree.add([*start, *(draw.randrange(1, 200) for _ in range(6))])[12:])
    return [*made, tree]


def test_scores_on_the_card_are_those_of_the_processor(tmp_path, trees):
    tiny_model(seed=1).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    here = Scorer(tiny_model(seed=1), name="here")
    with opened(EvalModel("trained", "tiny", tmp_path, ""), "float32", choose_device("auto")) as scorer:
        assert scorer.device.type == "cuda"
        assert scorer.branches
        for prefix in ((), (3, 4, 5)):
            there = scorer.score(trees, prefix=prefix)
            for one, other in zip(here.score(trees, prefix=prefix), there, strict=True):
                assert one.keys() == other.keys()
                assert all(abs(one[node] - other[node]) < 1e-3 for node in one)
        sequences = [tree.tokens for tree in trees[:3]]
        for one, other in zip(here.read(sequences), scorer.read(sequences), strict=True):
            assert one[0] == pytest.approx(other[0], abs=1e-3)
            assert one[1] == other[1]
