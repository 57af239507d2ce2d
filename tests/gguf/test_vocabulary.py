"""A saved tokenizer becomes what llama.cpp runs, with the same token ids, or is refused with the reason."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from small_vocabulary import TEXT
from tinsmith.base.assets import is_cached, resolve_model
from tinsmith.base.errors import AssetError
from tinsmith.gguf.tokenizer import build_tokenizer
from tinsmith.gguf.vocabulary import read_vocabulary, vocabulary_of
from tinsmith.gguf.writer import write_gguf
from tinsmith.model.export import save_model
from tinsmith.serve.runtime import LlamaServer
from tinsmith.tokens.tokenizer import load_base_tokenizer, load_tokenizer, save_tokenizer
from tiny_model import tiny_model, tiny_tokenizer

PIECES = [
    "it's",
    "WE'LL",
    " the",
    "2024",
    " 1999",
    "naïve",
    "日本",
    "…",
    "  ",
    "   ",
    "\t",
    "\n\n",
    "\r\n",
    " \n",
]
PIECES += [
    "e\u0301",
    "é",
    "ﬁ",
    "مرحبا",
    "שלום",
    "हिन्दी",
    "🙂",
    "👩\u200d👩",
    "\u00a0",
    "\u202e",
    "    ",
    "▁",
    "▁▁",
    "Ġ",
]
PIECES += ["<0x0A>", "\x7f", "\ufeff", "<s>", "</s>", "<unk>", "<turn>", "<b>", "licensee", "a" * 9, "9" * 7]
HERE = Path("here")


def sentence_pieces(*, prefix: bool, metaspace: bool = False) -> PreTrainedTokenizerFast:
    """Return a small SentencePiece BPE in the form of Llama 2 (with a prefix) or of Gemma."""
    spaces = normalizers.Replace(" ", "▁")
    backend = Tokenizer(BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    markup = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=markup, show_progress=False)
    backend.train_from_iterator([TEXT, "a  b   c    d      e\n\nf é 日"] * 3, trainer)
    saved = json.loads(backend.to_str())
    saved["added_tokens"] = [row for row in saved["added_tokens"] if not row["content"].startswith("<0x")]
    backend = Tokenizer.from_str(json.dumps(saved))
    backend.add_special_tokens([AddedToken("<turn>", normalized=False, special=True)])
    backend.add_tokens([AddedToken("<b>", normalized=False), AddedToken("\n\n", normalized=False)])
    if metaspace:
        backend.normalizer = None
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


@pytest.mark.parametrize(("prefix", "metaspace"), [(True, False), (False, False), (True, True)])
def test_sentence_pieces_have_the_ids_of_llama_cpp(tmp_path: Path, prefix: bool, metaspace: bool) -> None:
    published = sentence_pieces(prefix=prefix, metaspace=metaspace)
    vocabulary = vocabulary_of(published, HERE)
    assert (vocabulary.kind, vocabulary.adds_bos, vocabulary.adds_space) == ("llama", True, prefix)
    assert vocabulary.left_out == ("a text that begins with a space gets another one before it",) * metaspace
    rebuilt = build_tokenizer(vocabulary)
    model = tiny_model(layers=1)
    model.resize_token_embeddings(len(vocabulary.tokens) + 6)
    save_model(model, rebuilt, tmp_path / "model", "float32")
    write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16")
    again = build_tokenizer(read_vocabulary(tmp_path / "m.gguf"))
    draw = random.Random(4)
    texts = ["".join(draw.choices(PIECES, k=draw.randint(1, 8))) for _ in range(300)]
    texts += [" " * count + "x" for count in range(9)]
    with LlamaServer(tmp_path / "m.gguf") as server, server.client() as client:
        for text in texts:
            for markup in (True, False):
                body = {"content": text, "add_special": True, "parse_special": markup}
                theirs = client.post("/tokenize", json=body).json()["tokens"]
                for tokenizer in (rebuilt, again, *([] if metaspace else [published])):
                    assert tokenizer(text, split_special_tokens=not markup)["input_ids"] == theirs, text


def test_a_base_is_read_as_llama_cpp_reads_it_and_what_differs_is_told(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.NFC()
    save_tokenizer(tokenizer, tmp_path)
    read, left_out = load_base_tokenizer(tmp_path)
    assert left_out == ("letters and accents that stand apart are not joined (NFC)",)
    composed, apart = "é", "e\u0301"
    assert tokenizer(apart)["input_ids"] == tokenizer(composed)["input_ids"]
    assert read(apart)["input_ids"] != read(composed)["input_ids"] == tokenizer(composed)["input_ids"]
    assert read.chat_template == tokenizer.chat_template
    assert (read.bos_token_id, read.eos_token_id, read.pad_token_id) == (1, 2, 2)


def saved_with(path: Path, change: Any) -> Path:
    """Save the tiny tokenizer with a change to its tokenizer.json."""
    save_tokenizer(tiny_tokenizer(), path)
    saved = json.loads((path / "tokenizer.json").read_text())
    change(saved)
    (path / "tokenizer.json").write_text(json.dumps(saved))
    return path


def _another_id(saved: dict[str, Any]) -> None:
    saved["added_tokens"][0]["id"] = 400


def _after_a_gap(saved: dict[str, Any]) -> None:
    saved["model"]["vocab"]["licensor's"] = 380
    saved["added_tokens"].append({**saved["added_tokens"][0], "id": 404, "content": "<|late|>"})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda saved: saved["model"].update(end_of_word_suffix="</w>"), "sets end_of_word_suffix"),
        (lambda saved: saved["model"].update(dropout=0.1), "sets dropout"),
        (lambda saved: saved.update(normalizer={"type": "Lowercase"}), r"before splitting it \(Lowercase\)"),
        (lambda saved: saved.update(pre_tokenizer=None), "neither splits text into bytes"),
        (_another_id, r"gives the token '<\|endoftext\|>' the id 400, and opened it has 0"),
        (_after_a_gap, r"gives the token '<\|late\|>' the id 404, and opened it has 374"),
    ],
)
def test_a_tokenizer_that_llama_cpp_cannot_follow_is_refused(
    tmp_path: Path, change: Any, reason: str
) -> None:
    path = saved_with(tmp_path / "model", change)
    with pytest.raises(AssetError, match=reason) as error:
        load_base_tokenizer(path)
    assert "model/tokenizer.json" in str(error.value)


def test_other_kinds_of_tokenizers_are_refused(tmp_path: Path) -> None:
    model = {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1}, "unk_token": "[UNK]"}
    model |= {"continuing_subword_prefix": "##", "max_input_chars_per_word": 9}

    def change(saved: dict[str, Any]) -> None:
        saved["model"], saved["added_tokens"] = model, []

    path = saved_with(tmp_path, change)
    with pytest.raises(AssetError, match="its tokenizer is a WordPiece model"):
        vocabulary_of(PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json")), path)


def test_holes_in_the_ids_are_filled(tmp_path: Path) -> None:
    def change(saved: dict[str, Any]) -> None:
        saved["model"]["vocab"]["[PAD374]"] = 376

    vocabulary = vocabulary_of(load_tokenizer(saved_with(tmp_path, change)), HERE)
    assert vocabulary.tokens[373:] == ["[PAD373]", "[[PAD374]]", "[PAD375]", "[PAD374]"]
    assert len(set(vocabulary.tokens)) == 377


def test_more_tokens_than_rows_are_refused(tmp_path: Path) -> None:
    save_model(tiny_model(), tiny_tokenizer(), tmp_path / "model", "float32")
    saved = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    saved["model"]["vocab"] |= {f"piece {number}": number for number in range(373, 401)}
    (tmp_path / "model" / "tokenizer.json").write_text(json.dumps(saved))
    with pytest.raises(AssetError, match="has 401 tokens, and the model 400 rows for them"):
        write_gguf(tmp_path / "model", tmp_path / "m.gguf", "f16")


def test_a_tokenizer_is_what_its_file_says_whatever_class_is_named(tmp_path: Path) -> None:
    """transformers puts a class's own steps in place of the file's: digits of SmolLM2 would stay together."""
    save_tokenizer(tiny_tokenizer(), tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for named in ("GPT2Tokenizer", "LlamaTokenizerFast", "Qwen2Tokenizer"):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({**settings, "tokenizer_class": named}))
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 400}))
        read, _ = load_base_tokenizer(tmp_path)
        for text in ("in 2024", "e\u0301", "  x"):
            assert read(text)["input_ids"] == tiny_tokenizer()(text)["input_ids"]


@pytest.mark.parametrize("form", ["list", "files"])
def test_of_several_chat_templates_the_default_one_is_taken(tmp_path: Path, form: str) -> None:
    named = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}

    def save(path: Path, templates: dict[str, str]) -> Path:
        save_tokenizer(tiny_tokenizer(template=None), path)
        if form == "list":
            settings = json.loads((path / "tokenizer_config.json").read_text())
            settings["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
            (path / "tokenizer_config.json").write_text(json.dumps(settings))
        else:
            (path / "additional_chat_templates").mkdir()
            for name, text in templates.items():
                place = "chat_template" if name == "default" else f"additional_chat_templates/{name}"
                (path / f"{place}.jinja").write_text(text)
        return path

    read, _ = load_base_tokenizer(save(tmp_path / "one", named))
    assert read.chat_template == named["default"]
    with pytest.raises(
        AssetError, match=r"several chat templates and none is called default \(rag, tool_use\)"
    ):
        load_base_tokenizer(save(tmp_path / "other", {"rag": "{{ r }}", "tool_use": "{{ t }}"}))


def test_the_published_sentence_pieces_survive_a_file_of_ours() -> None:
    if not is_cached("gemma-3-270m"):
        pytest.skip("gemma-3-270m is not in the cache")
    published = read_vocabulary(resolve_model("gemma-3-270m").path)
    tokenizer = build_tokenizer(published)
    again = build_tokenizer(vocabulary_of(tokenizer, HERE))
    draw = random.Random(4)
    for _ in range(200):
        text = "".join(draw.choices(PIECES, k=draw.randint(1, 8)))
        assert tokenizer(text)["input_ids"] == again(text)["input_ids"]
