import pytest
import torch
from safetensors.torch import save_file

from small_models import byte_tokenizer, tiny_model
from small_vocabulary import write_bpe
from tinsmith.base.errors import AssetError
from tinsmith.evaluate import models
from tinsmith.evaluate.models import (
    describe,
    find_models,
    notes_on,
    open_tokenizer,
    opened,
    scoring_precision,
    unscored,
)
from tinsmith.evidence.schema import Role, Subject, role_of
from tinsmith.recipe import EvaluateConfig, ModelConfig


def _directory(path, family="llama"):
    tiny_model(family).save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def package(tmp_path):
    _directory(tmp_path / "package" / "model")
    return tmp_path / "package"


def test_subjects_are_ours_base_and_rivals(tmp_path, package):
    base, rival = _directory(tmp_path / "start"), _directory(tmp_path / "other one")
    model = ModelConfig(base=str(base))
    config = EvaluateConfig(rivals=(str(rival),))
    assert [s.subject for s in find_models(config, model, package)] == ["trained", "base", "other-one"]
    assert "does not have q4_k_m" in unscored(config, package)[0]
    (package / "gguf").mkdir()
    write_bpe(package / "gguf" / "model-q4_k_m.gguf")
    named = [s.subject for s in find_models(config, model, package)]
    assert named == ["trained", "trained-4bit", "base", "other-one"]
    assert unscored(config, package) == []
    plain = EvaluateConfig(rivals=(str(rival),), quantised=False)
    scratch = ModelConfig(base=str(base), scratch="llama@1m")
    assert [s.subject for s in find_models(plain, scratch, package)] == ["trained", "other-one"]


def test_models_have_names_files_and_licences(tmp_path, package):
    (package / "gguf").mkdir()
    for format in ("q8_0", "q4_k_m", "q5_0"):
        write_bpe(package / "gguf" / f"model-{format}.gguf")
    rival = _directory(tmp_path / ".other (one)")
    config = EvaluateConfig(rivals=(str(rival),), all_formats=True, quantised=False)
    ours, four, eight, other = find_models(config, ModelConfig(scratch="llama@1m"), package)
    assert (ours.name, ours.path, ours.gguf) == ("llama@1m, trained here", package / "model", None)
    assert (four.subject, four.name) == ("trained-4bit", "llama@1m, trained here (q4_k_m)")
    assert (eight.subject, eight.gguf) == ("trained-q8_0", package / "gguf" / "model-q8_0.gguf")
    assert {model.licence for model in (ours, four, eight)} == {"that of its base and documents"}
    assert (other.subject, other.path, other.gguf) == ("other-one", rival, None)
    assert [model.is_probed for model in (ours, four, eight, other)] == [True, False, False, False]
    assert unscored(config, package) == []
    assert unscored(EvaluateConfig(quantised=False), package) == []
    four.path.unlink()
    assert unscored(config, package) == []
    assert unscored(config.model_copy(update={"quantised": True}), package) == []


def test_a_description_counts_weights_as_stored(tmp_path, package):
    subject = find_models(EvaluateConfig(), ModelConfig(scratch="llama@1m"), package)[0]
    row = describe(subject, open_tokenizer(subject))
    weights = sum(p.numel() for p in tiny_model().parameters())
    assert (row.parameters, row.bytes, row.bits_per_weight) == (weights, 4 * weights, 32)
    assert row.quantisation == "F32 100%"
    assert row.chat_template is False
    assert (row.role, row.subject) == (Role.OURS, "trained")
    save_file({"a": torch.zeros(30, dtype=torch.bfloat16)}, package / "model" / "model.safetensors")
    row = describe(subject, open_tokenizer(subject))
    assert (row.parameters, row.bytes, row.quantisation) == (30, 60, "BF16 100%")


def _subject(subject, name, quantisation, *, chat_template=False):
    return Subject(
        subject=subject,
        name=name,
        role=role_of(subject),
        quantisation=quantisation,
        bits_per_weight=5.0,
        chat_template=chat_template,
    )


def test_notes_name_quantised_others_and_missing_templates():
    rows = [
        _subject("trained", "ours", "BF16 100%"),
        _subject("trained-q8_0", "our file", "Q8_0 100%"),
        _subject("base", "start", "Q4_1 79%, F32 1%", chat_template=True),
        _subject("r", "rival", "Q8_0 63%, Q5_0 24%"),
        _subject("s", "whole rival", "F16 99%", chat_template=True),
        _subject("t", "rounded rival", "BF16 99%", chat_template=True),
    ]
    stored, quantised, plain = notes_on(rows, "float32")
    assert "rival): Q8_0 63%, Q5_0 24%, 5.0 bits per weight" in stored
    assert "only: start, rival." in quantised
    assert plain == "Pretrained models without a chat template: rival."


def test_the_notes_say_what_rounding_costs():
    row = _subject("trained", "ours", "F16", chat_template=True)
    assert "scored in float32." in notes_on([row], "float32")[0]
    assert "scored in bfloat16, which moves" in notes_on([row], "bfloat16")[0]


@pytest.mark.parametrize(
    ("asked", "has", "expected"),
    [
        ("auto", True, "bfloat16"),
        ("auto", False, "float32"),
        ("float32", True, "float32"),
        ("bfloat16", False, "bfloat16"),
    ],
)
def test_auto_rounds_only_where_the_processor_multiplies_bfloat16(monkeypatch, asked, has, expected):
    monkeypatch.setattr(models, "has_bfloat16", lambda device: has)
    assert scoring_precision(asked, torch.device("cpu")) == expected


def test_a_subject_opens_rounded_only_if_asked(package):
    subject = find_models(EvaluateConfig(), ModelConfig(scratch="llama@1m"), package)[0]
    with opened(subject, "bfloat16", torch.device("cpu")) as scorer:
        assert {parameter.dtype for parameter in scorer.body.parameters()} == {torch.bfloat16}
        assert scorer.output.weight.dtype == torch.bfloat16
        assert all(buffer.dtype != torch.bfloat16 for buffer in scorer.body.buffers())


def test_a_subject_is_closed_again(package):
    subject = find_models(EvaluateConfig(), ModelConfig(scratch="llama@1m"), package)[0]
    with opened(subject, "float32", torch.device("cpu")) as scorer:
        assert scorer.output.weight.dtype == torch.float32
    assert not hasattr(scorer, "body")


def test_pickled_weights_are_refused(tmp_path, package):
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(AssetError, match="pickled"):
        find_models(EvaluateConfig(rivals=(str(tmp_path),)), ModelConfig(scratch="llama@1m"), package)
