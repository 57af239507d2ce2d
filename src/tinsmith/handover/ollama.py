"""Write what Ollama needs: the GGUF file and a Modelfile with a Go template, stop tokens and the context."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tinsmith.gguf.header import read_metadata
from tinsmith.gguf.metadata import read_stop_tokens
from tinsmith.handover.go_template import Message, find_form
from tinsmith.parity.opened import render
from tinsmith.tokens.tokenizer import load_tokenizer

_COMMAND = "cd {directory} && ollama create {name} -f Modelfile && ollama run {name}"


def write_ollama(model: Path, gguf: Path, out: Path, name: str, licence: str) -> list[str]:
    """Write `Modelfile` and the GGUF file into `out`; return notes for the person.

    Raises AssetError for a chat template that no Go template equals.
    """
    tokenizer = load_tokenizer(model)
    metadata = read_metadata(gguf)
    begins = bool(metadata.get("tokenizer.ggml.add_bos_token"))
    # Ollama writes the begin of text itself where the file says so.
    bos = str(tokenizer.bos_token) if begins and tokenizer.bos_token else ""

    def write(messages: Sequence[Message], ask: bool) -> str | None:
        text = render(tokenizer, messages, ask=ask)
        return text if text is None else text.removeprefix(bos)

    notes: list[str] = []
    if tokenizer.chat_template:
        form, differing = find_form(write, str(model))
        template = form.as_go()
        if form.before_system is None:
            notes.append("Ollama leaves out system messages, which the chat template refuses")
        notes.append(
            "its Go template writes twenty conversations as the chat template does"
            if not differing
            else f"its Go template differs in white space at the ends of messages ({', '.join(differing)})"
        )
    else:
        template = "{{ .Prompt }}"
        notes.append("the model has no chat template: Ollama sends it a prompt as it is")
    stops = [tokenizer.convert_ids_to_tokens(stop) for stop in read_stop_tokens(model)]
    context = metadata[f"{metadata['general.architecture']}.context_length"]
    lines = [
        f"FROM ./{gguf.name}",
        f'TEMPLATE """{template}"""',
        *(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops),
        f"PARAMETER num_ctx {min(int(context), 4096)}",
        f'LICENSE """{licence}"""',
    ]
    (out / "Modelfile").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copyfile(gguf, out / gguf.name)
    return [*notes, "run: " + _COMMAND.format(directory=out, name=name)]
