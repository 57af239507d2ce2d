import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM, T5Config, T5ForConditionalGeneration

from small_models import byte_tokenizer, tiny_model
from tinsmith.base.errors import AssetError, RecipeError
from tinsmith.base.files import read_json, write_json
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.models import EvalModel, opened
from tinsmith.evaluate.preflight import check_files, check_rivals, check_room, fetch_rivals
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.run import Work
from tinsmith.evidence.items import Item, ItemKind
from tinsmith.gguf.writer import write_gguf
from tinsmith.pipeline.build import build
from tinsmith.recipe import EvaluateConfig
from tinsmith.recipe.toml import parse_recipe

CPU = torch.device("cpu")


@pytest.fixture
def rival(tmp_path):
    """Make a whole rival, to be damaged."""
    path = tmp_path / "rival"
    tiny_model().save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path


def _cut(path):
    file = path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def _shard(path):
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    write_json(path / "model.safetensors.index.json", index)


def _foreign(path):
    small = {"vocab_size": 300, "d_model": 16, "d_ff": 16, "num_layers": 1, "num_heads": 1, "d_kv": 16}
    T5ForConditionalGeneration(T5Config(**small)).save_pretrained(path)


DAMAGE = {
    "cut": (_cut, r"model\.safetensors: is missing or damaged"),
    "shard": (_shard, r"model-00002-of-00002\.safetensors: is missing or damaged"),
    "config": (lambda path: (path / "config.json").unlink(), r"config\.json: cannot be read"),
    "family": (_foreign, "is a t5 model, which does not predict text"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_directory_is_told_by_its_headers(rival, damage):
    subject = EvalModel("rival", "rival", rival, "")
    check_files(subject)
    spoil, message = DAMAGE[damage]
    spoil(rival)
    with pytest.raises(AssetError, match=message):
        check_files(subject)


def test_a_cut_off_gguf_is_told_with_what_is_missing(rival, tmp_path):
    file = tmp_path / "rival.gguf"
    write_gguf(rival, file, "q8_0")
    check_files(EvalModel("rival", "rival", file, ""))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(
        AssetError, match=r"rival\.gguf: is not a readable GGUF file \(it was cut off: 1,000 bytes"
    ):
        check_files(EvalModel("rival", "rival", file, ""))


def test_weights_that_are_not_there_are_not_made_up(rival):
    weights = load_file(rival / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, rival / "model.safetensors", {"format": "pt"})
    with (
        pytest.raises(AssetError, match=r"lacks 1 of the model's tensors, such as model\.layers\.1\.mlp\.up"),
        opened(EvalModel("rival", "rival", rival, ""), "float32", CPU),
    ):
        pass


def test_an_encoder_that_sees_ahead_is_refused(tmp_path):
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    BertForMaskedLM(BertConfig(vocab_size=300, **shape)).save_pretrained(tmp_path)
    with (
        pytest.raises(AssetError, match=r"(?s)an encoder.*: is bidirectional.*name a causal"),
        opened(EvalModel("rival", "an encoder", tmp_path, ""), "float32", CPU),
    ):
        pass


def _item(task, text, kind=ItemKind.TASK):
    return Item(f"{task}:d0", task, "d0", text, "\nSo?", "yes", ("yes", "no"), kind=kind)


ROOM = {
    "window": (
        Work((HeldOutText("d0", "x" * 200, 0.0),), 100),
        r"document d0 takes 99\n  -> set evaluate\.window to 64 or less",
    ),
    "own": (
        Work((), 32, {"own": [_item("questions_own", "x" * 70, ItemKind.OWN)]}, {("own", 0): []}),
        r"item questions_own:d0 takes \d+\n  -> shorten the question",
    ),
    "built": (
        Work((), 32, {"cloze": [_item("cloze", "x" * 70, ItemKind.CLOZE)]}, {("cloze", 0): []}),
        r"item cloze:d0 takes \d+\n  -> lower evaluate\.characters",
    ),
    "task": (
        Work((), 32, {"kind": [_item("kind", "x" * 70)]}, {("kind", 0): []}),
        r"item kind:d0 takes \d+\n  -> lower characters of the task kind",
    ),
    "shots": (
        Work((), 32, {"kind": [_item("kind", "x" * 20)]}, {("kind", 2): [_item("kind", "y" * 20)] * 2}),
        r"item kind:d0 after 2 examples takes \d+\n  -> lower evaluate\.shots",
    ),
}


@pytest.mark.parametrize("kind", ["directory", "gguf"])
@pytest.mark.parametrize("work", ROOM)
def test_a_small_context_is_told_with_the_item_and_what_to_set(rival, tmp_path, kind, work):
    config = read_json(rival / "config.json")
    write_json(rival / "config.json", config | {"max_position_embeddings": 64})
    path = rival
    if kind == "gguf":
        path = tmp_path / "rival.gguf"
        write_gguf(rival, path, "q8_0")
    given, message = ROOM[work]
    with pytest.raises(AssetError, match=f"the rival: reads at most 64 tokens, but {message}"):
        check_room(EvalModel("rival", "the rival", path, ""), byte_tokenizer(), given)


def test_a_whole_window_and_an_item_with_its_last_token_only_foretold_fit(rival):
    write_json(rival / "config.json", read_json(rival / "config.json") | {"max_position_embeddings": 64})
    subject, tokenizer = EvalModel("rival", "rival", rival, ""), byte_tokenizer()
    work = Work((HeldOutText("d0", "x" * 64, 0.0),), 65)
    check_room(subject, tokenizer, work)
    with pytest.raises(AssetError, match="document d0 takes 65"):
        check_room(subject, tokenizer, Work((HeldOutText("d0", "x" * 65, 0.0),), 66))


def test_tokens_without_weights_are_told(rival):
    write_json(rival / "config.json", read_json(rival / "config.json") | {"vocab_size": 60})
    work = Work((HeldOutText("d0", "some text", 0.0),), 100)
    with pytest.raises(
        AssetError, match=r"its tokenizer makes token \d+ of document d0, it has weights for 60"
    ):
        check_room(EvalModel("rival", "rival", rival, ""), byte_tokenizer(), work)


def test_a_rival_that_cannot_be_scored_stops_the_build_before_a_document_is_read(rival, tmp_path):
    def start(*rivals):
        data = {"name": "x", "runs": str(tmp_path / "runs"), "ingest": {"sources": ["nowhere"]}}
        recipe = parse_recipe(data | {"evaluate": {"rivals": list(rivals)}}, where="test")
        build(recipe, progress=SilentProgress())

    check_rivals(EvaluateConfig(rivals=(str(rival), "gemma-3-270m", "some/model")))
    with pytest.raises(RecipeError, match="two models are called 'rival'"):
        start(str(rival), str(rival))
    with pytest.raises(AssetError, match="no such model"):
        start(str(tmp_path / "nowhere"))
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(AssetError, match="is not a GGUF file"):
        start(str(tmp_path / "notes.txt"))
    (rival / "tokenizer.json").unlink()
    with pytest.raises(AssetError, match=r"rival: holds no tokenizer\.json"):
        start(str(rival))
    (rival / "model.safetensors").rename(rival / "pytorch_model.bin")
    with pytest.raises(AssetError, match="pickled"):
        start(str(rival))
    assert not (tmp_path / "runs").exists()


def test_a_rival_that_needs_a_missing_network_is_told_before_a_document_is_read(rival, tmp_path, monkeypatch):
    def no_network(*names, **options):
        if options.get("local_files_only"):
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        raise ConnectionError("no route")

    monkeypatch.setenv("TINSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", no_network)

    source = tmp_path / "documents"
    source.mkdir()
    (source / "a.txt").write_text("some text")
    data = {"name": "x", "runs": str(tmp_path / "runs"), "ingest": {"sources": [str(source)]}}
    recipe = parse_recipe(data | {"evaluate": {"rivals": ["some/model"]}}, where="test")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_network)
    with pytest.raises(AssetError, match=r"(?s)some/model: is neither .*ConnectionError.*the network"):
        build(recipe, progress=SilentProgress())
    assert not (tmp_path / "runs" / "x" / "ingest").exists()
    assert (build(recipe, progress=SilentProgress(), until="ingest") / "ingest").exists()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(rival))
    fetch_rivals(recipe.evaluate)
    (rival / "tokenizer.json").unlink()
    with pytest.raises(AssetError, match=r"holds no tokenizer\.json"):
        fetch_rivals(recipe.evaluate)
