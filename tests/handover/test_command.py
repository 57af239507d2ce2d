"""`tinsmith export` writes what Ollama, the hub and vLLM need, from a whole bundle."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from transformers import AutoModelForCausalLM, AutoTokenizer

from tinsmith.base.errors import AssetError, BundleError
from tinsmith.base.files import read_json, read_jsonl, write_json
from tinsmith.base.progress import SilentProgress
from tinsmith.handover.command import export
from tinsmith.parity.command import compare


@pytest.fixture(scope="module")
def bundle(smoke: Path) -> Path:
    return smoke / "bundle"


def test_ollama_gets_the_file_a_template_stops_and_a_context(bundle: Path, tmp_path: Path) -> None:
    notes = export(bundle, tmp_path / "out", "ollama")
    assert notes[0] == "its Go template writes twenty conversations as the chat template does"
    assert notes[-1].startswith(f"run: cd {tmp_path / 'out'} && ollama create smoke -f Modelfile")
    text = (tmp_path / "out" / "Modelfile").read_text()
    assert re.search(r"^FROM \./model-q4_k_m\.gguf$", text, re.MULTILINE)
    assert (
        '{{ "<|im_start|>assistant\\n" }}"""\nPARAMETER stop "<|im_end|>"\nPARAMETER num_ctx 2048\n' in text
    )
    given = (tmp_path / "out" / "model-q4_k_m.gguf").read_bytes()
    assert given == (bundle / "gguf" / "model-q4_k_m.gguf").read_bytes()
    other = export(bundle, tmp_path / "other", "ollama", job="category", format="q8_0")
    assert (tmp_path / "other" / "model-q8_0.gguf").is_file()
    assert "ollama create category" in other[-1]


def test_vllm_gets_a_directory_that_transformers_opens(bundle: Path, tmp_path: Path) -> None:
    export(bundle, tmp_path / "out", "vllm")
    AutoModelForCausalLM.from_pretrained(tmp_path / "out", local_files_only=True)
    assert AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True).chat_template
    found = compare(str(bundle / "model"), str(tmp_path / "out"), SilentProgress())
    assert found.findings == []


def test_the_model_card_has_the_figures_of_the_evidence_and_no_more(bundle: Path, tmp_path: Path) -> None:
    evidence = read_json(bundle / "evidence.json")
    export(bundle, tmp_path / "documents", "hub")
    card = ModelCard.load(tmp_path / "documents" / "README.md")
    ours = {row["metric"]: row["value"] for row in evidence["metrics"] if row["subject"] == "trained"}
    figures = {result.metric_name.split(" (")[0]: result.metric_value for result in card.data.eval_results}
    assert figures["Bits per byte"] == ours["bits_per_byte"]
    assert figures["Accuracy, category, no examples"] == ours["accuracy:category:0-shot"]
    assert not any(name.startswith("Right") for name in figures)
    assert card.data.co2_eq_emissions["emissions"] == round(evidence["totals"]["g_co2e"], 3)
    assert (card.data.license, card.data.language, card.data.base_model) == ("other", ["en"], None)
    assert all(f"- {line}" in card.content for line in evidence["not_proven"])
    assert evidence["verdict"]["headline"] in card.content
    export(bundle, tmp_path / "job", "hub", job="category", with_exam=True)
    job = ModelCard.load(tmp_path / "job" / "README.md")
    figures = {result.metric_name.split(" (")[0]: result.metric_value for result in job.data.eval_results}
    assert figures["Right, category"] == ours["job_accuracy:category"]
    assert "Bits per byte" not in figures
    # What names the documents stays at home, but for the exam, of which a note warns.
    assert {path.name for path in (tmp_path / "job").iterdir()} >= {
        "README.md",
        "model-q4_k_m.gguf",
        "lm_eval",
    }
    assert not (tmp_path / "job" / "evidence.json").exists()


def test_the_harness_finds_the_accuracy_that_the_report_gives(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="the extra tinsmith[general] is not installed")
    notes = export(bundle, tmp_path / "plain", "hub")
    assert "--with-exam writes it" in notes[-1]
    assert not (tmp_path / "plain" / "lm_eval").exists()
    notes = export(bundle, tmp_path / "out", "hub", with_exam=True)
    assert "texts of your own that were held out" in notes[-1]
    exam = tmp_path / "out" / "lm_eval"
    assert sorted(path.name for path in exam.iterdir()) == ["exam_category.jsonl", "exam_category.yaml"]
    task = yaml.safe_load((exam / "exam_category.yaml").read_text())
    assert task["dataset_kwargs"]["data_files"]["test"] == "exam_category.jsonl"
    script = (
        "import json, lm_eval\n"
        "from lm_eval.tasks import TaskManager\n"
        "found = lm_eval.simple_evaluate('hf', model_args='pretrained=..,dtype=float32', device='cpu',\n"
        "    tasks=['exam_category'], task_manager=TaskManager(include_path='.', include_defaults=False))\n"
        "print(json.dumps(found['results']['exam_category']['acc,none']))\n"
    )
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=exam,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **offline},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    metrics = {
        row["metric"]: row["value"]
        for row in read_json(bundle / "evidence.json")["metrics"]
        if row["subject"] == "trained"
    }
    assert float(ran.stdout.splitlines()[-1]) == pytest.approx(metrics["accuracy:category:0-shot"])
    asked = [row for row in read_jsonl(bundle / "items" / "questions.jsonl") if row["kind"] == "task"]
    assert len(list(read_jsonl(exam / "exam_category.jsonl"))) == len(asked)


def test_no_path_of_this_machine_is_handed_over(bundle: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(bundle, tmp_path / "bundle")
    evidence = read_json(bundle / "evidence.json")
    secret = tmp_path / "client-x" / "start"
    secret.mkdir(parents=True)
    write_json(tmp_path / "bundle" / "evidence.json", {**evidence, "base": str(secret), "fresh": False})
    for tool in ("hub", "ollama"):
        export(tmp_path / "bundle", tmp_path / tool, tool)
        for file in (tmp_path / tool).iterdir():
            if file.suffix not in (".gguf", ".safetensors"):
                assert "client-x" not in file.read_text(), file
    assert ModelCard.load(tmp_path / "hub" / "README.md").data.base_model is None
    assert "That of start and of" in (tmp_path / "ollama" / "Modelfile").read_text()


def test_what_cannot_be_handed_over_is_told(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no model of the job tax.*\n.*--job: category"):
        export(bundle, tmp_path / "out", "vllm", job="tax")
    with pytest.raises(BundleError, match="holds no evidence"):
        export(bundle / "model", tmp_path / "out", "vllm")
    with pytest.raises(BundleError, match="--with-exam changes nothing for ollama"):
        export(bundle, tmp_path / "out", "ollama", with_exam=True)
    with pytest.raises(BundleError, match="--format changes nothing for vllm"):
        export(bundle, tmp_path / "out", "vllm", format="q8_0")
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="exists already"):
        export(bundle, tmp_path / "out", "vllm")


def test_a_template_that_go_cannot_write_leaves_nothing_behind(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinsmith.handover import ollama

    def refuse(*arguments: object) -> None:
        raise AssetError("depends on more than roles", where="here", next_step="use another tool")

    monkeypatch.setattr(ollama, "find_form", refuse)
    with pytest.raises(AssetError, match="more than roles"):
        export(bundle, tmp_path / "out", "ollama")
    assert list(tmp_path.iterdir()) == []
