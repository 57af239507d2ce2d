"""A question goes to another machine only if every document that it shows text of may leave."""

import pytest

from rule_teacher import rule_teacher
from short_contracts import contract
from tinsmith.base.files import read_json, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.own_questions import read_open_questions, read_own_questions
from tinsmith.evaluate.probe import HeldOutText
from tinsmith.evaluate.questions import build_cloze, build_next_passage
from tinsmith.evidence.items import Item
from tinsmith.recipe import EndpointConfig, EvaluateConfig, TaskConfig
from tinsmith.stages.evaluate.answers import answer_in_words, choose_words, most_sent
from tinsmith.stages.evaluate.origins import find_origins
from tinsmith.stages.sent import write_sent

ALLOWED = ("public", "unknown")
NAMES = [f"d{number}" for number in range(1, 13)]
LABELS = {
    name: ("public", "", "Public", "secret", "public AND secret")[n % 5] for n, name in enumerate(NAMES)
}
SECRET = {name for name, label in LABELS.items() if "secret" in label}
TEXTS = {
    name: contract(number).replace(" the ", " the Zanzibar " if name in SECRET else " the Meadow ")
    for number, name in enumerate(NAMES, 1)
}


def built() -> dict[str, list[Item]]:
    documents = [HeldOutText(name, text, 0.0) for name, text in TEXTS.items()]
    made = [build(documents, TEXTS, 30, seed=1) for build in (build_next_passage, build_cloze)]
    assert all(len(items) > 10 for items in made)
    return {items[0].task: items for items in made}


def exam(listed: tuple[str, ...] = ("x", "y")) -> list[Item]:
    return [
        Item(f"kind:{name}", "kind", name, TEXTS[name][:200], "\n\nKind:", listed[0], listed)
        for name in TEXTS
    ]


def origins(questions=None, **given):
    return find_origins(ALLOWED, LABELS, TEXTS, **{"own": (), "answers": (), "choices": {}, **given})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with rule_teacher() as teacher:
        teacher.answer = lambda prompt: "A"
        yield teacher


def test_no_text_of_a_document_that_may_not_leave_stands_in_any_question_asked(server, tmp_path):
    own = tmp_path / "mine.jsonl"
    fields = {"choices": ["yes", "no"], "passage": "A Zanzibar passage."}
    rows = [{"question": f"Is {n} so?", "answer": ["yes", "no"][n % 2], **fields} for n in range(4)]
    open_rows = [{"question": f"Who owns {n}?", "answer": f"p{n}", "access": "secret"} for n in range(2)]
    rows[0] |= {"passage": "Open to all.", "access": "public"}
    rows[1] |= {"passage": "Not stated."}
    rows[2] |= {"passage": "About Zanzibar.", "access": "public", "doc": min(SECRET)}
    rows[3] |= {"access": "secret"}
    open_rows[1] |= {"access": "public", "question": "Who owns the Meadow?"}
    write_jsonl(own, [*rows, *({**row, "question": row["question"]} for row in open_rows)])
    config = EvaluateConfig(
        endpoints=(EndpointConfig(name="api", model="m", url=server.remote_url),),
        generated_items=100,
        questions=(str(own),),
    )
    mine, in_words = read_own_questions(config.questions), read_open_questions(config.questions)
    questions = {**built(), "kind": exam(), **mine}
    own_items = [item for found in (mine, in_words) for items in found.values() for item in items]
    known = origins(own=own_items, choices={"kind": ("x", "y")})
    words = choose_words(
        config, (TaskConfig(name="kind", question="{text}", answer="{k}"),), questions, known, seed=1
    )
    answer_in_words(words, [], out=tmp_path, progress=SilentProgress())
    write_sent(tmp_path, {where: len(names) for where, names in words.withheld.items()})
    bodies = server.bodies
    assert bodies
    assert not [body for body in bodies if "Zanzibar" in body or "Who owns 0" in body]
    for shown in ("Which passage comes next", "belongs in the gap", "Kind:", "Open to all", "Not stated"):
        assert [body for body in bodies if shown in body]
    assert [body for body in bodies if "Who owns the Meadow" in body]
    sent = read_json(tmp_path / "sent.json")
    assert len(sent["requests"]) == len(bodies)
    named = {document for row in sent["requests"] for document in row["documents"]}
    assert set(NAMES) - SECRET <= named
    assert not SECRET & named
    assert sent["left_out"]["evaluate.endpoints.0"] >= len(SECRET)
    documents, size = most_sent(config, (TaskConfig(name="kind", question="{text}", answer="{k}"),))
    assert sum(row["bytes"] for row in sent["requests"]) <= size
    assert len(named) <= documents


def test_false_choices_are_counted_with_the_documents_they_come_from():
    found = origins()
    for items in built().values():
        for item in items:
            shown = {name for name in TEXTS for choice in item.choices if choice in TEXTS[name]}
            if found.may_leave(item):
                assert item.doc_id in found.of(item)
                assert all(any(choice in TEXTS[name] for name in found.of(item)) for choice in item.choices)
            else:
                assert shown & SECRET


def test_choices_of_a_task_that_only_documents_that_stay_have_keep_its_questions_here():
    listed = ("x", "y")
    example = [
        Item(f"kind:{n}", "kind", n, "", "", answer, listed)
        for n, answer in (("d1", "x"), (min(SECRET), "y"))
    ]
    assert not any(map(origins(answers=example).may_leave, exam()))
    assert sum(map(origins(choices={"kind": listed}).may_leave, exam())) == len(NAMES) - len(SECRET)
    example.append(Item("kind:d2", "kind", "d2", "", "", "y", listed))
    assert sum(map(origins(answers=example).may_leave, exam())) == len(NAMES) - len(SECRET)


def test_a_question_of_ones_own_without_a_label_is_unknown(tmp_path):
    lines = [{"question": f"Who pays {n}?", "answer": f"p{n}", "passage": f"It is p{n}."} for n in range(3)]
    lines[1]["access"] = "public"
    lines[2]["access"] = "secret"
    write_jsonl(tmp_path / "mine.jsonl", lines)
    (items,) = read_open_questions((str(tmp_path / "mine.jsonl"),)).values()
    for allowed, sent in ((("public",), [1]), (("unknown",), [0]), (("public", "unknown"), [0, 1])):
        found = find_origins(allowed, LABELS, TEXTS, own=items, answers=(), choices={})
        assert [number for number, item in enumerate(items) if found.may_leave(item)] == sent
