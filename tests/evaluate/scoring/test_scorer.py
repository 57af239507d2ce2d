import random

import numpy as np
import pytest
import torch

from small_models import byte_tokenizer, plain_log_probs, tiny_model
from tinsmith.base.errors import AssetError
from tinsmith.evaluate.scoring.scorer import Scorer, batches, target_scores
from tinsmith.evaluate.scoring.tree import Tree
from tinsmith.model.output_layer import OutputLayer
from tinsmith.tokens.encoding import encode

FAMILIES = ["llama", "gemma2", "gemma3", "qwen3", "gpt2", "bloom"]


def _sequence(length, seed):
    return [random.Random(seed).randrange(300) for _ in range(length)]


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
@pytest.mark.parametrize("softcap", [0.0, 5.0])
def test_chunks_give_the_whole_softmax(chunk, softcap):
    generator = torch.Generator().manual_seed(1)
    hidden, weight = (torch.randn(n, 16, generator=generator) * 3 for n in (11, 130))
    bias = torch.randn(130, generator=generator)
    targets = torch.randint(0, 130, (11,), generator=generator)
    logits = hidden.double() @ weight.double().T + bias
    logits = torch.tanh(logits / softcap) * softcap if softcap else logits
    expected = logits.log_softmax(-1)[range(11), targets]
    found, likeliest = target_scores(hidden, targets, OutputLayer(weight, bias, softcap), chunk=chunk)
    assert torch.allclose(found.double(), expected, atol=1e-4)
    assert torch.allclose(logits[range(11), likeliest], logits.amax(-1), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_chains_of_different_length_in_one_batch(family):
    model = tiny_model(family)
    scorer = Scorer(model, name=family, batch_tokens=100)
    sequences = [_sequence(length, length) for length in (40, 3, 25, 12)]
    trees = []
    for tokens in sequences:
        tree = Tree()
        tree.ask(tree.add(tokens)[1:])
        trees.append(tree)
    before = scorer.forwards
    found = scorer.score(trees)
    assert scorer.forwards - before < len(trees)
    for tokens, values in zip(sequences, found, strict=True):
        assert list(values.values()) == pytest.approx(plain_log_probs(model, tokens), abs=2e-3)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("given", [0, 13])
def test_branches_equal_separate_sequences(family, given):
    model = tiny_model(family)
    scorer = Scorer(model, name=family, batch_tokens=120)
    assert scorer.branches == (family != "bloom")
    prefix, trees, expected = _sequence(given, 99), [], []
    for number in range(3):
        stem = _sequence(20 + number, number)
        tree = Tree()
        for branch in range(4):
            tokens = stem[: 10 + 3 * branch] + _sequence(2 + branch, 50 + branch)
            nodes = tree.add(tokens)
            tree.ask(nodes[8:])
            whole = plain_log_probs(model, prefix + tokens)
            expected.append((number, nodes[8:], whole[given + 7 :]))
        trees.append(tree)
    found = scorer.score(trees, prefix=prefix)
    for number, nodes, values in expected:
        assert [found[number][node] for node in nodes] == pytest.approx(values, abs=3e-3)


def test_a_prefix_is_read_once():
    scorer = Scorer(tiny_model(), name="m", batch_tokens=20)
    trees = []
    for seed in range(6):
        tree = Tree()
        tree.ask(tree.add(_sequence(10, seed))[1:])
        trees.append(tree)
    tokens, forwards = scorer.tokens, scorer.forwards
    scorer.score(trees, prefix=_sequence(50, 9))
    assert scorer.tokens - tokens == 50 + 6 * 9  # the last token of each is foretold, not read
    assert scorer.forwards - forwards == 1 + 3


@pytest.mark.parametrize("family", FAMILIES)
def test_rounded_weights_give_nearly_the_same_with_prefix_and_branches(family):
    model = tiny_model(family)
    scorer = Scorer(model, name=family)
    tree = Tree()
    left, right = tree.add(_sequence(30, 1)), tree.add([*_sequence(30, 1)[:20], *_sequence(9, 2)])
    tree.ask([*left[1:], *right[20:]])
    exact = scorer.score([tree], prefix=_sequence(13, 3))[0]
    exact_read, _ = scorer.read([_sequence(40, 4)])[0]
    scorer.round_weights()
    rounded = scorer.score([tree], prefix=_sequence(13, 3))[0]
    rounded_read, _ = scorer.read([_sequence(40, 4)])[0]
    for one, other in ((list(exact.values()), list(rounded.values())), (exact_read, rounded_read)):
        differences = np.abs(np.subtract(one, other))
        assert differences.max() > 0
        assert differences.mean() < 0.02 * np.abs(one).mean()


def test_of_equals_one_is_the_likeliest():
    hidden, weight = torch.ones(2, 4), torch.ones(10, 4)
    weight[3] = weight[8] = 2.0
    _, likeliest = target_scores(hidden, torch.tensor([3, 8]), OutputLayer(weight), chunk=5)
    assert likeliest.tolist() == [3, 3]


def test_what_cannot_be_rounded_is_told_with_a_way_out(monkeypatch):
    scorer = Scorer(tiny_model(), name="stubborn")
    model = scorer.body
    forward = model.forward

    def only_float32(*given, **named):
        if model.embed_tokens.weight.dtype != torch.float32:
            raise RuntimeError("expected scalar type Float but found BFloat16")
        return forward(*given, **named)

    monkeypatch.setattr(model, "forward", only_float32)
    with pytest.raises(
        AssetError, match=r"(?s)stubborn: cannot be computed in bfloat16 .*precision to float32"
    ):
        scorer.round_weights()


def test_overflow_in_rounded_weights_is_told():
    model = tiny_model()
    scorer = Scorer(model, name="wild")
    scorer.output.weight.data[7] = float("inf")
    with pytest.raises(AssetError, match="wild: overflows in bfloat16"):
        scorer.round_weights()


def test_the_likeliest_token_is_so_in_either_precision():
    model = tiny_model()
    scorer = Scorer(model, name="m")
    for rounded in (False, True):
        if rounded:
            scorer.round_weights()
        tokens = [5]
        for _ in range(12):
            with torch.inference_mode():
                tokens.append(int(model(torch.tensor([tokens])).logits[0, -1].argmax()))
        assert all(scorer.read([tokens])[0][1])
        assert scorer.read([[*tokens[:-1], (tokens[-1] + 1) % 300]])[0][1][-1] is False


def test_order_and_size_of_batches_do_not_matter():
    model = tiny_model()
    trees = []
    for seed in range(7):
        tree = Tree()
        tree.ask(tree.add(_sequence(5 + 4 * seed, seed))[1:])
        trees.append(tree)
    plain = Scorer(model, name="m", batch_tokens=1).score(trees)
    mixed = Scorer(model, name="m", batch_tokens=200).score(trees[::-1])[::-1]
    for one, other in zip(plain, mixed, strict=True):
        assert list(one) == list(other)
        assert np.allclose(list(one.values()), list(other.values()), atol=1e-4)


def test_too_long_a_sequence_is_named():
    scorer = Scorer(tiny_model("gpt2"), name="small one")
    tree = Tree()
    tree.ask(tree.add(_sequence(1101, 0))[1:])
    with pytest.raises(AssetError, match=r"small one: reads at most 1024 tokens, 1100 are asked for"):
        scorer.score([tree])


def test_a_scaled_output_layer_is_refused():
    model = tiny_model()
    forward = model.forward

    def scaled(*args, **kwargs):
        result = forward(*args, **kwargs)
        result.logits = result.logits / 2
        return result

    model.forward = scaled
    with pytest.raises(AssetError, match="more than a product"):
        Scorer(model, name="m")


def test_batches_hold_every_index_once_with_little_padding():
    lengths = [random.Random(3).randrange(1, 300) for _ in range(50)] + [900]
    kinds = [number % 3 == 0 for number in range(51)]
    groups = batches(lengths, kinds, 600)
    assert sorted(i for group in groups for i in group) == list(range(51))
    for group in groups:
        assert len({kinds[i] for i in group}) == 1
        assert len(group) == 1 or max(lengths[i] for i in group) * len(group) <= 600
    padded = sum(max(lengths[i] for i in group) * len(group) for group in groups)
    assert padded < 1.15 * sum(lengths)


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_reading_agrees_with_the_plain_loop(family):
    model, tokenizer = tiny_model(family), byte_tokenizer()
    sequences = [
        [5, *encode(tokenizer, text)] for text in ("the fee of it", "a claim", "the sale under the section")
    ]
    for sequence, (log_probs, likeliest) in zip(
        sequences, Scorer(model, name="m").read(sequences), strict=True
    ):
        assert log_probs == pytest.approx(plain_log_probs(model, sequence), abs=5e-3)
        with torch.inference_mode():
            best = model(input_ids=torch.tensor([sequence])).logits[0, :-1].argmax(-1).tolist()
        assert likeliest == [token == other for token, other in zip(sequence[1:], best, strict=True)]
