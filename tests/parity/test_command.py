"""`tinsmith parity` names each planted fault by its kind, and raises no alarm over sound pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.base_families import base_configs, random_base
from benchmarks.model_faults import FAULTS, write_adapter
from tokenizers import normalizers
from transformers import PretrainedConfig
from typer.testing import CliRunner

from gguf import GGUFWriter
from tinsmith.base.errors import AssetError, RunError
from tinsmith.base.progress import SilentProgress
from tinsmith.cli import app
from tinsmith.gguf.metadata import add_architecture
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.parity.command import compare
from tinsmith.parity.opened import DirectoryModel, OpenModel
from tinsmith.serve.runtime import LlamaServer
from tinsmith.train.checkpoint import save_trained
from tiny_model import changed_copy, tiny_model, tiny_tokenizer, write_trained


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trained(tmp_path_factory.mktemp("source") / "model")


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_named(source: Path, tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    a, b = fault.plant(source, tmp_path)
    found = compare(str(a), str(b), SilentProgress())
    assert {finding.kind for finding in found.findings} == {fault.kind}, found.findings


@pytest.mark.parametrize("name", base_configs())
def test_sound_pairs_raise_no_alarm(tmp_path: Path, name: str) -> None:
    a, b = tmp_path / "model", tmp_path / "model.gguf"
    save_trained(random_base(base_configs()[name]), tiny_tokenizer(), a)
    for format in ("f16", "q8_0", "q4_k_m"):
        write_gguf(a, b, format)
        found = compare(str(a), str(b), SilentProgress())
        # Random weights in four bits answer otherwise without a fault of anybody.
        assert {finding.kind for finding in found.findings} <= ({"answers"} if format == "q4_k_m" else set())


def test_caps_that_a_file_does_not_name_are_compared_as_llama_cpp_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = base_configs()["gemma 2"]
    config.attn_logit_softcapping, config.final_logit_softcapping = 50.0, 3.0
    save_trained(random_base(config), tiny_tokenizer(), tmp_path / "model")
    whole = add_architecture

    def forgetful(writer: GGUFWriter, config: PretrainedConfig, name: str) -> None:
        whole(writer, config, name)
        for facts in writer.kv_data:
            for key in ("attn_logit_softcapping", "final_logit_softcapping"):
                facts.pop(f"gemma2.{key}")

    monkeypatch.setattr("tinsmith.gguf.writer.add_architecture", forgetful)
    write_gguf(tmp_path / "model", tmp_path / "model.gguf", "f16")
    found = compare(str(tmp_path / "model"), str(tmp_path / "model.gguf"), SilentProgress())
    assert [finding.text for finding in found.findings] == [
        "final_logit_softcapping is 3.0 in A and 30.0 in B"
    ]
    # The product is that of a cap of 30: wide apart from one of 3.
    assert found.figures is not None
    assert found.figures.mean_kl > 0.1


def test_two_directories_two_files_and_either_order(source: Path, tmp_path: Path) -> None:
    save_model(tiny_model(), tiny_tokenizer(), tmp_path / "half", "bfloat16")
    write_gguf(source, tmp_path / "a.gguf", "f16")
    write_gguf(tmp_path / "half", tmp_path / "b.gguf", "q8_0")
    for pair in ((source, "half"), ("a.gguf", "b.gguf"), ("b.gguf", source)):
        found = compare(*(str(tmp_path / name) for name in pair), SilentProgress())
        assert found.findings == []
        assert found.figures is not None
        assert found.figures.mean_kl <= found.figures.bound_kl


def test_the_command_prints_what_differs_and_ends_with_one(source: Path, tmp_path: Path) -> None:
    write_gguf(source, tmp_path / "b.gguf", "q8_0")
    runner = CliRunner()
    sound = runner.invoke(app, ["parity", str(source), str(tmp_path / "b.gguf")])
    assert sound.exit_code == 0
    assert "no difference was found" in sound.stdout
    wrong = changed_copy(source, tmp_path / "wrong", "generation_config.json", eos_token_id=[1])
    told = runner.invoke(app, ["parity", str(wrong), str(tmp_path / "b.gguf")])
    assert told.exit_code == 1
    assert "stop tokens: generation ends on ['<|im_start|>'] in A and not in B" in told.stdout
    with pytest.raises(AssetError, match="no such model"):
        compare(str(tmp_path / "nothing"), str(source), SilentProgress())


@pytest.mark.parametrize("name", ["another split of text", "another chat template"])
def test_a_server_is_compared_by_what_it_answers(
    source: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[name]
    a, b = fault.plant(source, tmp_path)
    write_gguf(source, tmp_path / "sound.gguf", "q8_0")
    for path, expected in ((tmp_path / "sound.gguf", set()), (b, {fault.kind})):
        with LlamaServer(path) as server:
            monkeypatch.setenv("TINSMITH_API_KEY", server.api_key)
            found = compare(str(a), f"{server.base_url}/v1", SilentProgress())
        assert {finding.kind for finding in found.findings} == expected, found.findings
        assert found.notes == []


def test_a_server_that_does_not_end_on_a_stop_token_is_told(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = changed_copy(source, tmp_path / "wrong", "generation_config.json", eos_token_id=[2, 90])
    write_gguf(source, tmp_path / "b.gguf", "q8_0")
    with LlamaServer(tmp_path / "b.gguf") as server:
        monkeypatch.setenv("TINSMITH_API_KEY", server.api_key)
        found = compare(str(wrong), server.base_url, SilentProgress())
    assert [finding.kind for finding in found.findings] == ["stop tokens"]


def test_sound_pairs_of_other_tools_raise_no_alarm(tmp_path: Path) -> None:
    """What llama.cpp knows without the file, what published tokenizers do besides, and how others write the same."""
    tokenizer, model = tiny_tokenizer(), tiny_model()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    model.generation_config.eos_token_id = [2, 0]  # llama.cpp ends on <|endoftext|> by its text
    save_model(model, tokenizer, tmp_path / "a", "float32")
    changed = changed_copy(tmp_path / "a", tmp_path / "b", "generation_config.json", eos_token_id=[2])
    write_gguf(changed, tmp_path / "b.gguf", "q8_0")
    found = compare(str(tmp_path / "a"), str(tmp_path / "b.gguf"), SilentProgress())
    assert found.findings == []
    assert found.notes == [
        "A as published is read otherwise than by llama.cpp: letters and accents that stand apart are not joined (NFC)"
    ]


def test_an_adapter_of_a_granite_is_found_in_its_file(tmp_path: Path) -> None:
    base = tmp_path / "base"
    save_trained(random_base(base_configs()["granite"]), tiny_tokenizer(), base)
    adapter = write_adapter(base, tmp_path)
    with OpenModel(adapter, "A") as folded:
        assert isinstance(folded, DirectoryModel)
        write_gguf(folded.path, tmp_path / "folded.gguf", "q8_0")
    write_gguf(base, tmp_path / "base.gguf", "q8_0")
    assert compare(str(adapter), str(tmp_path / "folded.gguf"), SilentProgress()).findings == []
    found = compare(str(adapter), str(tmp_path / "base.gguf"), SilentProgress())
    assert [finding.kind for finding in found.findings] == ["adapter"]


def test_models_without_anything_in_common_are_told_in_a_few_lines(source: Path, tmp_path: Path) -> None:
    save_trained(random_base(base_configs()["olmo-2"]), tiny_tokenizer(), tmp_path / "other")
    found = compare(str(source), str(tmp_path / "other"), SilentProgress())
    assert [finding.kind for finding in found.findings] == ["settings"]
    assert "the architecture is llama in A and olmo2 in B" in found.findings[0].text
    assert found.notes == ["tensors of two architectures are not compared"]
    facts = base_configs()["llama 2"]
    facts.num_hidden_layers = 3
    save_trained(random_base(facts), tiny_tokenizer(), tmp_path / "longer")
    longer = compare(str(source), str(tmp_path / "longer"), SilentProgress())
    texts = [finding.text for finding in longer.findings]
    assert any("block_count is 2 in A and 3 in B" in text for text in texts)
    assert any("9 tensors, such as blk.2.attn_k.weight, are missing in A" in text for text in texts)


def test_damaged_models_are_refused_with_a_next_step(source: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_gguf(source, tmp_path / "whole.gguf", "q8_0")
    whole = (tmp_path / "whole.gguf").read_bytes()
    for name, content in (("text.gguf", b"text"), ("cut.gguf", whole[:3000]), ("short.gguf", whole[:-9000])):
        (tmp_path / name).write_bytes(content)
    for name in ("empty", "text.gguf", "cut.gguf", "short.gguf", "nothing"):
        with pytest.raises(AssetError, match=name) as error:
            compare(str(source), str(tmp_path / name), SilentProgress())
        assert "->" in str(error.value)


def test_a_server_that_is_not_there_is_told(source: Path) -> None:
    with pytest.raises(RunError, match=r"http://127\.0\.0\.1:9: does not answer /v1/models"):
        compare(str(source), "http://127.0.0.1:9", SilentProgress())
