"""Systems that answer in words, asked over real HTTP and through llama.cpp: kept, resumed, partial, recomputed."""

import json
import time

import pytest

from family_figures import make_context
from rule_teacher import rule_teacher
from tinsmith.base.errors import BundleError, LLMError, RecipeError
from tinsmith.base.files import read_jsonl, write_json, write_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.families.generative import FAMILY
from tinsmith.evaluate.verify import check_figures
from tinsmith.evidence.items import Item
from tinsmith.evidence.schema import Formats, Metrics
from tinsmith.gguf.writer import write_gguf
from tinsmith.llm import client
from tinsmith.pipeline.plan import plan
from tinsmith.recipe import EndpointConfig, EvaluateConfig, IngestConfig, Recipe
from tinsmith.stages.evaluate.answers import answer_in_words, check_words, choose_words
from tinsmith.stages.evaluate.origins import find_origins
from tiny_model import write_trained

SECRET = "sk-not-to-be-seen-98765"
EXAMS = {
    "kind": [
        Item(
            f"kind:{n}",
            "kind",
            f"d{n // 2}",
            f"Text {n}.",
            "\n\nKind:",
            ("free", "paid")[n % 2],
            ("free", "paid"),
        )
        for n in range(12)
    ]
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("RIVAL_KEY", SECRET)


@pytest.fixture
def server():
    with rule_teacher() as teacher:
        teacher.answer = right
        yield teacher


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    root = tmp_path_factory.mktemp("gguf")
    write_gguf(write_trained(root / "model"), root / "model.gguf", "f16")
    return root / "model.gguf"


def number(prompt):
    return int(prompt.split("Text ")[1].split(".")[0])


def right(prompt):
    return "AB"[number(prompt) % 2]


def endpoint(server, **fields):
    base = {"name": "api", "model": "m", "url": server.url, "key_variable": "RIVAL_KEY", "parallel": 1}
    return EndpointConfig(**{**base, **fields})


def words(config, questions=EXAMS, allowed=(), labels=None, **given):
    """Choose what is asked in words; `labels` are the access labels of documents."""
    found = {"own": (), "answers": (), "choices": {}, **given}
    texts = {item.doc_id: item.text for items in questions.values() for item in items}
    origins = find_origins(allowed, labels or {}, texts, **found)
    return choose_words(config, (), questions, origins, seed=3)


def ask(out, *endpoints, local=(), **changes):
    """Ask all systems; return the recipe's settings, the table of answers in words, and each system's items."""
    config = EvaluateConfig(endpoints=endpoints, bootstrap=100, **changes)
    answer_in_words(words(config), local, out=out, progress=SilentProgress())
    subjects = tuple(subject for subject, *_ in local)
    found = FAMILY.figures(make_context(out / "items", subjects, config)).generated
    systems = found.systems if found else ()
    rows = {
        system.subject: list(read_jsonl(out / "items" / f"generated-{system.subject}.jsonl"))
        for system in systems
    }
    return config, found, rows


def check(out, config, found, subjects=()):
    """Compute all again, as verify does, and compare; return how many numbers agree."""
    known = make_context(out / "items", subjects).subjects
    metrics = Metrics(
        subjects=tuple(known.values()), generated=found, ladder=Formats(max_loss=config.max_loss)
    )
    write_json(out / "metrics.json", metrics.model_dump(mode="json", exclude_none=True))
    recipe = Recipe(name="r", seed=3, ingest=IngestConfig(sources=(".",)), evaluate=config)
    return check_figures(out / "metrics.json", out / "items", recipe, gguf=out)


def values(found, subject="api"):
    return {row.metric: row.value for row in found.metrics if row.subject == subject}


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini"])
def test_an_endpoint_of_each_shape_answers_beside_our_gguf(server, tmp_path, gguf, kind):
    config, found, rows = ask(tmp_path, endpoint(server, kind=kind), local=[("trained", "Ours", gguf)])
    assert [system.subject for system in found.systems] == ["trained", "api"]
    assert [row["prompt"] for row in rows["trained"]] == [row["prompt"] for row in rows["api"]]
    assert all(row["correct"] for row in rows["api"])
    assert all(isinstance(row["raw"], str) for row in rows["trained"])
    assert values(found)["generated_accuracy:kind"] == 1.0
    assert values(found, "trained")["generated_accuracy:kind"] < 1.0
    (duel,) = found.comparisons
    assert (duel.a, duel.b) == ("trained", "api")
    # Six figures and a difference, each with its interval, and five counts a system at least.
    assert check(tmp_path, config, found, ("trained",)) >= 6 * 4 + 5 + 2 * 5
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or SECRET not in path.read_text()


def test_prose_is_read_and_what_says_nothing_counts_as_wrong(server, tmp_path):
    server.answer = lambda prompt: "It is paid." if number(prompt) % 2 else "Hard to say."
    _, found, rows = ask(tmp_path, endpoint(server))
    value = values(found)
    assert value["generated_accuracy:kind"] == value["generated_unanswered:kind"] == 0.5
    assert not found.systems[0].partial
    assert {row["prediction"] for row in rows["api"]} == {"paid", ""}


def test_money_that_ends_in_the_middle_leaves_a_partial_result_that_says_so(server, tmp_path):
    # An answer may cost 64 and costs 5: after seven of them the next might exceed the limit.
    dear = endpoint(server, price_per_million_output=1e6, max_cost=95.0)
    config, found, rows = ask(tmp_path, dear)
    reasons = [row["failure"] for row in rows["api"]]
    assert reasons == [""] * 7 + ["budget"] * 5
    assert found.systems[0].partial
    assert found.systems[0].cost == 35.0
    assert "api (m) is scored on 7 of 12 questions asked in words (left out: budget)" in found.notes[-1]
    assert next(row for row in found.metrics if row.metric == "generated_accuracy:kind").items == 7
    check(tmp_path, config, found)


def test_an_endpoint_that_gives_up_in_the_middle_keeps_what_it_said(server, tmp_path):
    real = server.handle

    def handle(handler):
        server.status = 401 if len(server.asked) >= 5 else 200
        real(handler)

    server.handle = handle
    config, found, rows = ask(tmp_path, endpoint(server))
    assert [row["failure"] for row in rows["api"]] == [""] * 5 + ["stopped"] * 7
    assert "rejects the key in RIVAL_KEY" in rows["api"][-1]["detail"]
    assert SECRET not in json.dumps(rows)
    assert found.systems[0].asked == 5
    check(tmp_path, config, found)


def test_an_endpoint_that_never_answers_is_an_error(server, tmp_path):
    server.status = 401
    with pytest.raises(LLMError, match="RIVAL_KEY"):
        ask(tmp_path, endpoint(server))


def test_a_slow_and_a_damaged_answer_are_failures_of_their_own(server, tmp_path):
    real, seen = server.handle, []

    def handle(handler):
        seen.append(0)
        if 3 <= len(seen) <= 2 + client.ATTEMPTS:
            time.sleep(0.4)
        if len(seen) == 8 + client.ATTEMPTS:
            handler.rfile.read(int(handler.headers["content-length"]))
            handler.send_response(200)
            handler.send_header("content-type", "application/json")
            handler.send_header("content-length", "12")
            handler.end_headers()
            handler.wfile.write(b'{"choices": ')
            return
        real(handler)

    server.handle = handle
    _, _, rows = ask(tmp_path, endpoint(server, seconds_per_answer=0.2))
    reasons = [row["failure"] for row in rows["api"]]
    assert (reasons[2], reasons[8]) == ("timeout", "rubbish")
    assert reasons.count("") == 10


def test_a_busy_endpoint_is_waited_for_as_long_as_it_says(server, tmp_path):
    real, times = server.handle, []

    def handle(handler):
        times.append(time.monotonic())
        if len(times) == 1:
            handler.rfile.read(int(handler.headers["content-length"]))
            handler.send_response(429)
            handler.send_header("retry-after", "0.4")
            handler.send_header("content-length", "0")
            handler.end_headers()
            return
        real(handler)

    server.handle = handle
    _, found, _ = ask(tmp_path, endpoint(server), generated_items=4)
    assert times[1] - times[0] >= 0.4
    assert (found.systems[0].answered, found.systems[0].partial) == (4, False)


def test_a_refusal_counts_as_wrong_under_its_name(server, tmp_path):
    real = server.handle

    def handle(handler):
        if len(server.asked) != 1:
            return real(handler)
        server.asked.append(("", {}, ""))
        handler.rfile.read(int(handler.headers["content-length"]))
        data = json.dumps({"content": [], "stop_reason": "refusal", "usage": {}}).encode()
        handler.send_response(200)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    server.handle = handle
    _, found, rows = ask(tmp_path, endpoint(server, kind="anthropic"))
    assert rows["api"][1]["failure"] == "refused"
    assert not found.systems[0].partial
    value = values(found)
    assert value["generated_accuracy:kind"] == pytest.approx(11 / 12)


def test_killed_in_the_middle_it_asks_nothing_twice(server, tmp_path):
    class Killed(SilentProgress):
        def task(self, what, total, unit):
            outer = super().task(what, total, unit)

            class Counting:
                def __enter__(self):
                    outer.__enter__()
                    self.count = 0
                    return self.advance

                def advance(self, amount):
                    self.count += 1
                    if self.count == 6:
                        raise KeyboardInterrupt

                def __exit__(self, *error):
                    return outer.__exit__(*error)

            return Counting()

    config = EvaluateConfig(endpoints=(endpoint(server),), bootstrap=100)
    with pytest.raises(KeyboardInterrupt):
        answer_in_words(words(config), [], out=tmp_path, progress=Killed())
    time.sleep(0.3)
    _, found, _ = ask(tmp_path, endpoint(server))
    prompts = [prompt for _, _, prompt in server.asked]
    # The one question under way when it was killed may be asked again, no answered one is.
    assert len(set(prompts)) == 12
    assert len(prompts) <= 12 + 1
    assert found.systems[0].answered == 12


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("raw", "B", "prediction is"),
        ("correct", False, "correct is"),
        ("prompt", "Say A.", "was not asked as others were"),
        ("input_tokens", 0, "input_tokens"),
    ],
)
def test_a_forged_row_is_found(server, tmp_path, field, value, words):
    config, found, rows = ask(tmp_path, endpoint(server), endpoint(server, name="second"))
    rows["second"][0] = {**rows["second"][0], field: value}
    write_jsonl(tmp_path / "items" / "generated-second.jsonl", rows["second"])
    with pytest.raises(BundleError, match=words):
        check(tmp_path, config, found)


def test_what_could_not_be_asked_is_told_before_anything_is_scored(server, tmp_path, monkeypatch):
    own = tmp_path / "own.jsonl"
    write_jsonl(own, [{"question": "Who?", "answer": "me"}, {"question": "When?", "answer": "now"}])
    with pytest.raises(RecipeError, match=r"evaluate\.generated_items"):
        check_words(EvaluateConfig(questions=(str(own),)))
    check_words(EvaluateConfig(questions=(str(own),), generated_items=5))
    monkeypatch.delenv("RIVAL_KEY")
    with pytest.raises(LLMError, match="RIVAL_KEY"):
        check_words(EvaluateConfig(endpoints=(endpoint(server),)))
    assert not server.asked


def test_a_plan_tells_of_a_missing_key(server, monkeypatch):
    monkeypatch.delenv("RIVAL_KEY")
    evaluate = EvaluateConfig(endpoints=(endpoint(server),))
    with pytest.raises(LLMError, match="RIVAL_KEY"):
        plan(Recipe(name="r", ingest=IngestConfig(sources=(".",)), evaluate=evaluate))


def test_short_answers_are_asked_in_words_only(server, tmp_path):
    own = tmp_path / "own.jsonl"
    lines = [{"question": f"Text {n}. Who?", "answer": f"person {n}"} for n in range(3)]
    write_jsonl(own, lines)
    server.answer = lambda prompt: (
        right(prompt) if "A. " in prompt else f"The person {min(number(prompt), 1)}."
    )
    config, found, _ = ask(tmp_path, endpoint(server), questions=(str(own),))
    value = values(found)
    assert value["generated_accuracy:questions_own.short"] == pytest.approx(2 / 3)
    assert value["generated_f1:questions_own.short"] == pytest.approx((1 + 1 + 0.5) / 3)
    check(tmp_path, config, found)


def test_without_being_asked_nothing_is_written(tmp_path, gguf):
    _, found, _ = ask(tmp_path, local=[("trained", "Ours", gguf)])
    assert found is None
    assert not list(tmp_path.iterdir())
