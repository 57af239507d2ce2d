"""A Go template writes conversations as the chat template does, in Go's own engine where Go is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tinsmith.base.errors import AssetError
from tinsmith.handover.go_template import Message, find_form
from tinsmith.parity.conversations import conversations
from tinsmith.parity.opened import render
from tiny_model import CHATML, tiny_tokenizer

# Published forms, each in words of its own.
HEADERS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n\\n' + m['content'] | trim + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n\\n' }}{% endif %}"
)
WITH_DEFAULT = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou help.<|im_end|>\\n' }}{% endif %}"
    + CHATML
)
IN_FIRST_TURN = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\\n\\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{{ '<turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\\n' }}"
    "{{ (first if loop.first else '') + m['content'] + '<end>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}"
)
IN_BRACKETS = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set first = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (first if loop.first else '') + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + CHATML
TEMPLATES = {
    "ChatML": (CHATML, 0),
    "headers, trimmed": (HEADERS, 6),
    "a default system message": (WITH_DEFAULT, 0),
    "the system message in the first turn": (IN_FIRST_TURN, 0),
    "in brackets": (IN_BRACKETS, 0),
    "no system message": (NO_SYSTEM, 0),
}
PROGRAM = """package main
import ("encoding/json"; "os"; "text/template")
type Message struct { Role string; Content string }
type Task struct { Template string; Talks [][]Message }
func main() {
	var tasks []Task
	json.NewDecoder(os.Stdin).Decode(&tasks)
	var all [][]string
	for _, task := range tasks {
		parsed := template.Must(template.New("").Parse(task.Template))
		var texts []string
		for _, talk := range task.Talks {
			var text writer
			if err := parsed.Execute(&text, map[string]any{"Messages": talk}); err != nil { panic(err) }
			texts = append(texts, string(text))
		}
		all = append(all, texts)
	}
	json.NewEncoder(os.Stdout).Encode(all)
}
type writer []byte
func (w *writer) Write(bytes []byte) (int, error) { *w = append(*w, bytes...); return len(bytes), nil }
"""


def renderer(template: str) -> Callable[[Sequence[Message], bool], str | None]:
    tokenizer = tiny_tokenizer(template=template)
    return lambda messages, ask: render(tokenizer, messages, ask=ask)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_writes_around_messages_is_found(name: str) -> None:
    template, differing = TEMPLATES[name]
    write = renderer(template)
    form, apart = find_form(write, "here")
    assert len(apart) == differing
    same = [write(talk, True) in (None, form.render(talk)) for talk in conversations()]
    assert same.count(False) == differing


def test_go_writes_what_we_say_that_it_writes(tmp_path: Path) -> None:
    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    forms = [find_form(renderer(template), "here")[0] for template, _ in TEMPLATES.values()]
    talks = [list(talk) for talk in conversations()]
    tasks = [{"Template": form.as_go(), "Talks": talks} for form in forms]
    (tmp_path / "main.go").write_text(PROGRAM)
    (tmp_path / "go.mod").write_text("module check\n\ngo 1.18\n")
    ran = subprocess.run(
        ["go", "run", "."], cwd=tmp_path, input=json.dumps(tasks), capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [[form.render(talk) for talk in talks] for form in forms]


@pytest.mark.parametrize(
    "template",
    [
        CHATML.replace("{{ message['content'] }}", "{{ message['content'] | upper }}"),
        "{% for message in messages %}{{ loop.index }}"
        + CHATML.removeprefix("{% for message in messages %}"),
        CHATML.replace("{% endfor %}", "{% if loop.length > 2 %}...{% endif %}{% endfor %}"),
    ],
)
def test_a_template_that_is_more_than_a_form_is_refused(template: str) -> None:
    with pytest.raises(AssetError, match=r"depends on more than roles|refuses a question"):
        find_form(renderer(template), "here")
