"""A saved model opens in plain transformers and names nothing of the machine that saved it."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinsmith.base.errors import AssetError
from tinsmith.model import export
from tinsmith.model.export import save_model
from tiny_model import CHATML, tiny_model, tiny_tokenizer, write_trained

IDS = torch.tensor([[1, 40, 50, 60, 70, 80, 90]])


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_saved_model_opens_in_plain_transformers(tmp_path, precision):
    model, tokenizer = tiny_model(), tiny_tokenizer()
    # What a model read from a quantised GGUF carries along.
    model.config.quantization_config = {"quant_method": "gguf"}
    save_model(model, tokenizer, tmp_path, precision)
    assert model.dtype == torch.float32
    opened = AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True)
    assert opened.dtype == export.PRECISIONS[precision]
    with torch.inference_mode():
        ours, theirs = model(IDS).logits.log_softmax(-1), opened.float()(IDS).logits.log_softmax(-1)
    assert float((ours.exp() * (ours - theirs)).sum(-1).mean()) < 0.002
    again = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    assert again.chat_template == CHATML
    assert again("The licence of 2024")["input_ids"] == tokenizer("The licence of 2024")["input_ids"]
    assert opened.generation_config.eos_token_id == [2]
    config = json.loads((tmp_path / "config.json").read_text())
    assert "quantization_config" not in config
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors", ".jinja"}


def test_a_weight_that_does_not_fit_is_named(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[0, 0] = 1e6
    with pytest.raises(AssetError, match=r"layers\.1\.mlp\.up_proj\.weight is not finite in float16"):
        save_model(model, tiny_tokenizer(), tmp_path / "half", "float16")


def test_no_path_of_this_machine_is_written(tmp_path):
    trained = write_trained(tmp_path / "trained")
    save_model(
        AutoModelForCausalLM.from_pretrained(trained), tiny_tokenizer(), tmp_path / "saved", "bfloat16"
    )
    for file in (tmp_path / "saved").iterdir():
        assert str(trained.parent).encode() not in file.read_bytes()
