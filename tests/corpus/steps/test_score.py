"""Good documents outscore poor ones, as many stay as asked, and who judged it shows what it judged by."""

import contextlib
import itertools
import json
import random
import string
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from corpus.frames import decisions, frame
from helpers import shared_data
from rule_teacher import rule_teacher
from tinsmith.base.completion import Answer, Ask, Failure, Request
from tinsmith.base.errors import CorpusError
from tinsmith.base.files import read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.corpus.engine import DataFrame
from tinsmith.corpus.steps import score as score_step
from tinsmith.corpus.steps.result import StepInput
from tinsmith.corpus.steps.score import exemplars
from tinsmith.corpus.steps.score.agreement import auc, f1, resampled, spearman
from tinsmith.corpus.steps.score.excerpt import WINDOW, WINDOWS, windows
from tinsmith.corpus.steps.score.ready import reasons, score
from tinsmith.corpus.steps.score.teacher import instructions, parse_rating, prompt
from tinsmith.corpus.text.repair import document_id
from tinsmith.recipe import LLMConfig, ScoreConfig
from tinsmith.stages.llm_session import open_llm

# Sentences of a textbook, written for this test.
SENTENCES = {
    "baking": (
        "Dough rises because yeast turns sugar into gas, and the gas is held by a net of gluten.",
        "Salt slows the yeast down, so a loaf without it grows quickly and tastes of very little.",
        "If the oven is too cool, the crust forms late and the crumb dries before it has set.",
        "A baker therefore lets the dough rest, which gives the flour time to take up the water.",
        "Kneading lines the strands of gluten up, and that is what makes the dough stretch.",
        "Steam in the first minutes keeps the surface soft while the loaf is still growing.",
    ),
    "tides": (
        "The moon pulls on the near side of the sea more strongly than on the far side.",
        "This difference raises two bulges of water, under which the turning earth passes each day.",
        "When the sun stands in line with the moon, the two pulls add up and the tide is high.",
        "At half moon they work against each other, and the water rises by much less.",
        "In a narrow bay the wave is squeezed together, so that its height may be many times as great.",
        "Harbours are built with this in mind, since a ship must float at low water too.",
    ),
    "contracts": (
        "An offer is accepted when the other side agrees to all of its terms without a change.",
        "Whoever answers with other terms has made a new offer, and the first one is gone.",
        "A promise that nothing is given for binds nobody, unless it was made by deed.",
        "Where one side breaks the agreement, the other may ask for what it has lost by that.",
        "The court looks at what the words mean to a reasonable reader, and not at what was hoped.",
        "A term that nobody wrote down may still hold, because the bargain makes no sense without it.",
    ),
}
POOR = ("menu", "scan", "list", "table", "jumble", "repeats")


def lesson(topic: str, seed: int) -> str:
    """Some paragraphs of a topic's sentences in an order of their own."""
    draw = random.Random(f"{topic} {seed}")
    paragraphs = [" ".join(draw.sample(SENTENCES[topic], 4)) for _ in range(3)]
    return f"Chapter {seed}.\n\n" + "\n\n".join(paragraphs)


def spoilt(kind: str, text: str, seed: int) -> str:
    """Something of about the same length that teaches nothing, some of it made of the text."""
    draw = random.Random(f"{kind} {seed}")
    words = text.split()
    if kind == "menu":
        entries = ("Home", "Our team", "Log in", "Basket", "Search", "Contact us", "Imprint", "Next page")
        return "\n".join(f"{draw.choice(['', '| ', '> '])}{draw.choice(entries)}" for _ in words[::2])
    if kind == "scan":
        noise = string.ascii_lowercase + "|;~1!^"
        return "".join(draw.choice(noise) if draw.random() < 0.15 else letter for letter in text)
    if kind == "list":
        return "\n".join(f"- {draw.choice(words)} {draw.choice(words)}" for _ in words[::2])
    if kind == "table":
        return "\n".join("   ".join(f"{draw.uniform(0, 99):.2f}" for _ in range(6)) for _ in words[::5])
    if kind == "jumble":
        return " ".join(draw.sample(words, len(words)))
    return "\n".join([" ".join(words[:6])] * (len(words) // 6))


def lessons(count: int) -> list[str]:
    return [lesson(topic, seed) for seed in range(count) for topic in SENTENCES]


class FakeTeacher:
    """A teacher that answers by a function."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def statistics(self) -> dict[str, float]:
        return {}


def run(
    out: Path,
    texts: list[str],
    *,
    held_out: list[str] | None = None,
    seed: int = 3,
    ask=None,
    **config,
) -> dict[str, float]:
    """Score texts as documents of a corpus and return the statistics."""
    outcome = score_step.run(
        ScoreConfig.model_validate(config),
        StepInput(
            documents=frame(out / "frames" / "documents.parquet", texts),
            held_out=frame(
                out / "frames" / "held_out.parquet", held_out or ["Something else was put aside."]
            ),
            out=out,
            seed=seed,
            progress=SilentProgress(),
            teacher=FakeTeacher(ask) if callable(ask) else ask,
        ),
    )
    return outcome.statistics


def scores(out: Path) -> dict[str, float]:
    table = pq.read_table(out / "scores.parquet")
    return dict(zip(table["doc_id"].to_pylist(), table["score"].to_pylist(), strict=True))


def measured(good: list[float], poor: list[float]) -> float:
    """Return the chance that a good document outscores a poor one."""
    return sum((a > b) + (a == b) / 2 for a in good for b in poor) / (len(good) * len(poor))


def folder(path: Path, texts: Iterable[str]) -> str:
    path.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (path / f"{number}.txt").write_text(text)
    return str(path)


# What every kind shares: how many stay, and what is shown.


@pytest.mark.parametrize(
    ("keep", "stay"), [(1.0, 30), (0.9, 27), (0.55, 17), (0.5, 15), (0.35, 11), (0.1, 3), (0.001, 1)]
)
def test_exactly_the_share_asked_for_stays_and_it_is_the_best(tmp_path: Path, keep: float, stay: int):
    texts = lessons(5) + [spoilt(kind, lesson("tides", 9), seed) for seed in range(3) for kind in POOR[:5]]
    statistics = run(tmp_path, texts, kind="ready", keep=keep)
    gone, found = decisions(tmp_path / "decisions.parquet"), scores(tmp_path)
    assert (statistics["documents"], statistics["kept"], statistics["dropped"]) == (30, stay, 30 - stay)
    assert len(gone) == 30 - stay
    kept = set(found) - set(gone)
    assert min(found[name] for name in kept) == statistics["threshold"]
    assert all(found[name] <= statistics["threshold"] for name in gone)
    assert {row["reason"] for row in gone.values()} <= {"low_score"}
    assert all(f"{found[name]:.4f}" in row["detail"] for name, row in gone.items())


def test_of_equal_scores_the_smallest_ids_stay(tmp_path: Path):
    texts = [f"{n:05}" for n in range(20)]  # numbers alone, all equally poor
    run(tmp_path, texts, kind="ready", keep=0.25)
    assert len(set(scores(tmp_path).values())) == 1
    assert set(scores(tmp_path)) - set(decisions(tmp_path / "decisions.parquet")) == set(
        sorted(map(document_id, texts))[:5]
    )


def test_the_best_the_middle_and_the_worst_are_shown_with_what_moved_them(tmp_path: Path):
    texts = lessons(10) + [spoilt(kind, lesson("tides", 9), seed) for seed in range(2) for kind in POOR]
    run(tmp_path, texts, kind="ready", keep=0.5)
    rows = list(read_jsonl(tmp_path / "score_examples.jsonl"))
    found = scores(tmp_path)
    ranked = sorted(found, key=lambda name: (-found[name], name))
    assert [row["group"] for row in rows] == ["best"] * 5 + ["median"] * 5 + ["worst"] * 5
    assert [row["doc_id"] for row in rows] == [*ranked[:5], *ranked[18:23], *ranked[-5:]]
    assert [row["rank"] for row in rows] == [*range(1, 6), *range(19, 24), *range(38, 43)]
    by_id = {document_id(text): text for text in texts}
    for row in rows:
        assert row["score"] == found[row["doc_id"]]
        assert row["kept"] == (row["rank"] <= 21)
        assert by_id[row["doc_id"]].startswith(row["text"].removesuffix(" …"))
        assert len(row["text"]) <= 602
    worst = rows[-1]["why"]
    assert worst
    assert all(each["amount"] < 0 for each in worst)
    bins = list(read_jsonl(tmp_path / "score_histogram.jsonl"))
    assert len(bins) == 20
    assert sum(each["documents"] for each in bins) == 42
    assert sum(each["kept"] for each in bins) == 21


def test_of_few_documents_none_is_shown_twice_and_none_at_all_is_no_error(tmp_path: Path):
    run(tmp_path / "few", lessons(2)[:4], kind="ready", keep=0.5)
    shown = [row["doc_id"] for row in read_jsonl(tmp_path / "few" / "score_examples.jsonl")]
    assert len(shown) == len(set(shown)) == 4
    one = frame(tmp_path / "one.parquet", ["Only one."])
    outcome = score_step.run(
        ScoreConfig(kind="ready"),
        StepInput(
            documents=one.limit(0),
            held_out=one,
            out=tmp_path / "none",
            seed=1,
            progress=SilentProgress(),
        ),
    )
    assert outcome.statistics["documents"] == outcome.statistics["kept"] == 0


@contextlib.contextmanager
def no_whole_column(monkeypatch: pytest.MonkeyPatch, most: int) -> Iterator[None]:
    """Fail where more texts than `most` are asked for at one time."""
    whole = {name: getattr(DataFrame, name) for name in ("to_pydict", "to_pylist", "to_arrow", "to_pandas")}

    def bounded(name: str):
        def call(self: DataFrame, *arguments: object, **options: object) -> object:
            assert "text" not in self.column_names or self.count_rows() <= most, name
            return whole[name](self, *arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in whole:
            patch.setattr(DataFrame, name, bounded(name))
        yield


@pytest.mark.parametrize("kind", ["ready", "exemplars", "teacher"])
def test_texts_are_read_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    texts = [spoilt("jumble", lesson("tides", n), n) for n in range(140)] + lessons(5)
    good = folder(tmp_path / "good", [lesson("baking", n) for n in range(40, 60)])
    with no_whole_column(monkeypatch, 64):
        run(
            tmp_path / "out",
            texts,
            held_out=[spoilt("jumble", lesson("contracts", n), n) for n in range(140)],
            kind=kind,
            exemplars={"sources": [good]},
            sample=140,
            ask=by_words,
        )


def test_a_long_document_costs_no_more_than_its_windows():
    text = " ".join(lessons(4) * 400)
    pieces = windows(text)
    assert len(pieces) == WINDOWS
    assert all(0.9 * WINDOW < len(piece) <= WINDOW for piece in pieces)
    assert text.startswith(pieces[0])
    assert text.endswith(pieces[-1])
    assert all(f" {piece} " in f" {text} " for piece in pieces)  # no word is cut through
    middling = lesson("tides", 1) * 20
    assert len(middling) <= sum(map(len, windows(middling))) + 20 * len(windows(middling))


# The score that needs nothing.


@pytest.mark.parametrize("kind", POOR)
def test_ready_ranks_what_teaches_above_what_does_not(kind: str):
    good = [score(text, "en") for text in lessons(6)]
    poor = [score(spoilt(kind, text, seed), "en") for seed, text in enumerate(lessons(6))]
    assert measured(good, poor) == 1.0
    assert min(good) > 0.5


@pytest.mark.parametrize("kind", POOR)
def test_ready_does_so_on_real_contracts_and_opinions(kind: str):
    paths = [
        path
        for pattern in ("cuad/CUAD_v1/full_contract_txt/*.txt", "scotus-opinions/opinions/*")
        for path in sorted(shared_data(pattern.split("/", 1)[0]).glob(pattern.split("/", 1)[1]))[:30]
        if path.is_file()
    ]
    texts = [path.read_text("utf-8", "replace")[20_000:26_000] for path in paths]
    texts = [text for text in texts if len(text.split()) > 300]
    assert len(texts) >= 20
    good = [score(text, "en") for text in texts]
    poor = [score(spoilt(kind, text, seed), "en") for seed, text in enumerate(texts)]
    assert measured(good, poor) > 0.95


def test_ready_says_which_measure_cost_what():
    table = spoilt("table", lesson("tides", 1), 1)
    found = dict(reasons(table, "en"))
    assert {"letters", "number_words"} <= set(found)
    assert list(found.values()) == sorted(found.values())
    assert dict(reasons("\n".join([lesson("tides", 1)] * 9), "en")).keys() & {"repeated_lines", "compressed"}


def test_ready_leaves_english_words_out_of_other_languages():
    german = (
        "Der Teig geht auf, weil die Hefe den Zucker in Gas verwandelt und der Kleber das Gas hält. "
        "Das Salz bremst die Hefe, deshalb wächst ein Brot ohne Salz schnell und schmeckt nach wenig. "
        "Ist der Ofen zu kühl, so bildet sich die Kruste spät, und die Krume trocknet aus.\n\n"
        "Der Bäcker lässt den Teig ruhen, damit das Mehl genug Zeit hat, um das Wasser aufzunehmen. "
        "Durch das Kneten ordnen sich die Stränge des Klebers, und davon wird die Masse dehnbar. "
        "Dampf hält in den ersten Minuten die Oberfläche weich, während das Brot noch wächst."
    )
    assert score(german, "de") > 0.5
    assert "function_words" in dict(reasons(german, "en", most=20))
    assert "function_words" not in dict(reasons(german, "de", most=20))
    assert score(german, "de") > score(spoilt("table", german, 1), "de") + 0.3


# The score that learns from good documents.


def test_exemplars_teach_what_is_good(tmp_path: Path):
    sources = [folder(tmp_path / "good", [lesson("baking", n) for n in range(100, 130)])]
    texts = lessons(20)
    statistics = run(tmp_path / "out", texts, kind="exemplars", exemplars={"sources": sources}, keep=1 / 3)
    kept = set(scores(tmp_path / "out")) - set(decisions(tmp_path / "out" / "decisions.parquet"))
    baking = {document_id(lesson("baking", n)) for n in range(20)}
    assert len(kept) == 20
    assert len(kept & baking) >= 19
    assert statistics["exemplars"] == 30
    assert statistics["auc_low"] <= statistics["auc"] <= statistics["auc_high"]
    best = next(iter(read_jsonl(tmp_path / "out" / "score_examples.jsonl")))
    said = {word for each in best["why"] if each["amount"] > 0 for word in each["what"].split()}
    assert said & {word.strip(".,").lower() for each in SENTENCES["baking"] for word in each.split()}


@pytest.mark.parametrize(("good", "each"), [(30, 5), (12, 15)])
def test_equal_inputs_and_seed_give_equal_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int, each: int
):
    """A seed chooses among the exemplars where they are too many, and among the documents."""
    monkeypatch.setattr(exemplars, "SAMPLE", 20)
    sources = [folder(tmp_path / "good", [lesson("baking", n) for n in range(100, 100 + good)])]
    files = ("scores.parquet", "decisions.parquet", "score_examples.jsonl", "score_histogram.jsonl")

    def written(name: str, seed: int) -> list[bytes]:
        run(tmp_path / name, lessons(each), kind="exemplars", exemplars={"sources": sources}, seed=seed)
        return [(tmp_path / name / file).read_bytes() for file in files]

    first = written("a", 3)
    assert written("b", 3) == first
    assert written("c", 4)[0] != first[0]


def test_exemplars_like_all_the_rest_show_no_difference(tmp_path: Path):
    draw = random.Random(2)

    def ordinary() -> str:
        return " ".join(draw.choices(string.ascii_letters + string.digits, k=200))

    sources = [folder(tmp_path / "good", [ordinary() for _ in range(40)])]
    statistics = run(
        tmp_path / "out", [ordinary() for _ in range(60)], kind="exemplars", exemplars={"sources": sources}
    )
    assert statistics["auc"] < 0.65


def test_nothing_is_learnt_from_the_held_out_part(tmp_path: Path):
    good = [lesson("baking", n) for n in range(100, 130)]
    config = {"kind": "exemplars", "exemplars": {"sources": [folder(tmp_path / "good", good)]}}
    run(tmp_path / "a", lessons(12), held_out=["Nothing of the kind."], **config)
    others = [" ".join([word] * 300) for word in ("yeast", "moon", "promise")]
    run(tmp_path / "b", lessons(12), held_out=others, **config)
    assert scores(tmp_path / "a") == scores(tmp_path / "b")


def strange(count: int) -> list[str]:
    """Texts that share no run of words with each other."""
    return [" ".join(random.Random(n).sample(string.ascii_letters, 40)) for n in range(count)]


def test_an_exemplar_that_was_put_aside_is_not_learnt_from(tmp_path: Path):
    """Whole, within a longer document, or only the half of one."""
    good = strange(30)
    held_out = [good[0], f"{lesson('tides', 1)} {good[1]} {lesson('tides', 2)}", good[2][:44], good[3][:20]]
    config = {"kind": "exemplars", "exemplars": {"sources": [folder(tmp_path / "good", good)]}}
    statistics = run(tmp_path / "out", lessons(12), held_out=held_out, **config)
    assert (statistics["exemplars"], statistics["exemplars_near_held_out"]) == (27, 3)


def test_training_documents_that_are_exemplars_do_not_stand_for_ordinary_ones(tmp_path: Path):
    texts = strange(60)
    sources = [folder(tmp_path / "good", texts[:20])]
    statistics = run(tmp_path / "out", texts, kind="exemplars", exemplars={"sources": sources})
    assert (statistics["ordinary"], statistics["ordinary_near_exemplars"]) == (40, 20)


@pytest.mark.parametrize("sources", [[], ["missing"], ["empty"], ["few"]])
def test_too_few_exemplars_end_with_the_key_that_names_them(tmp_path: Path, sources: list[str]):
    (tmp_path / "empty").mkdir()
    folder(tmp_path / "few", lessons(1))
    named = [str(tmp_path / name) for name in sources]
    with pytest.raises(CorpusError) as caught:
        run(tmp_path / "out", lessons(5), kind="exemplars", exemplars={"sources": named})
    assert caught.value.where.startswith("refine.score.exemplars.sources")
    assert caught.value.next_step.startswith("name ")
    assert all(name in str(caught.value) for name in named if "few" not in name)


def test_exemplars_that_cannot_be_read_are_counted_in_the_message(tmp_path: Path):
    source = folder(tmp_path / "good", lessons(1))
    for number in range(9):
        (tmp_path / "good" / f"{number}.pdf").write_bytes(b"%PDF-1.7\nnothing follows")
    with pytest.raises(CorpusError, match=r"3 exemplars .* at least 10 .*9 files are \w+"):
        run(tmp_path / "out", lessons(5), kind="exemplars", exemplars={"sources": [source]})


def test_a_corpus_of_nothing_but_exemplars_says_so(tmp_path: Path):
    source = folder(tmp_path / "good", lessons(5))
    with pytest.raises(CorpusError, match="0 training documents are not exemplars"):
        run(tmp_path / "out", lessons(5), kind="exemplars", exemplars={"sources": [source]})


# The score that learns from ratings.


def worth(text: str) -> int:
    """Rate baking high, tides in the middle, contracts low."""
    return 5 if "dough" in text.lower() else 3 if "moon" in text else 1


def rate(text: str) -> Answer:
    return Answer(text, 0, 0, 0.0)


def by_words(requests: Iterable[Request]) -> Iterator[Answer]:
    for each in requests:
        assert "Score: N" in each.system
        yield rate(f"Score: {worth(each.prompt)}")


def test_a_teachers_ratings_of_a_sample_rank_the_rest(tmp_path: Path):
    texts = lessons(40)
    statistics = run(tmp_path, texts, kind="teacher", sample=45, keep=1 / 3, ask=by_words)
    rated = list(read_jsonl(tmp_path / "ratings.jsonl"))
    by_id = {document_id(text): text for text in texts}
    assert len(rated) == len({row["doc_id"] for row in rated}) == statistics["ratings"] == 45
    assert all(row["rating"] == worth(by_id[row["doc_id"]]) for row in rated)
    assert statistics["spearman"] > 0.9
    assert statistics["f1"] > 0.9
    kept = set(by_id) - set(decisions(tmp_path / "decisions.parquet"))
    assert sum(worth(by_id[name]) == 5 for name in kept) >= 39
    assert {len(kept)} == {40}


def test_a_seed_chooses_which_documents_are_rated(tmp_path: Path):
    def rated(name: str, seed: int) -> list[str]:
        run(tmp_path / name, lessons(20), kind="teacher", sample=25, seed=seed, ask=by_words)
        return [row["doc_id"] for row in read_jsonl(tmp_path / name / "ratings.jsonl")]

    assert rated("a", 1) == rated("b", 1) != rated("c", 2)


def test_ratings_that_mean_nothing_show_no_agreement(tmp_path: Path):
    draw = random.Random(1)

    def at_random(requests: Iterable[Request]) -> Iterator[Answer]:
        for _ in requests:
            yield rate(f"Score: {draw.randint(0, 5)}")

    statistics = run(tmp_path, lessons(40), kind="teacher", sample=100, ask=at_random)
    assert statistics["spearman_low"] < 0.25
    assert abs(statistics["spearman"]) < 0.4


def test_a_run_that_was_cut_off_asks_only_for_the_rest(tmp_path: Path):
    asked: list[str] = []

    def counted(most: int):
        def ask(requests: Iterable[Request]) -> Iterator[Answer]:
            for number, each in enumerate(requests):
                if number == most:
                    raise KeyboardInterrupt
                asked.append(each.prompt)
                yield rate(f"Score: {worth(each.prompt)}")

        return ask

    config = {"kind": "teacher", "sample": 30}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "torn", lessons(20), ask=counted(12), **config)
    ratings = tmp_path / "torn" / "ratings.jsonl"
    assert len(ratings.read_text().splitlines()) == 12
    with ratings.open("a") as file:
        file.write('{"doc_id": "half')
    run(tmp_path / "torn", lessons(20), ask=counted(99), **config)
    assert len(asked) == len(set(asked)) == 30
    run(tmp_path / "whole", lessons(20), ask=counted(99), **config)
    for name in ("ratings.jsonl", "scores.parquet"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "torn" / name).read_bytes()
    # Another rubric is another question.
    run(tmp_path / "torn", lessons(20), ask=counted(99), rubric="One point for bread.", **config)
    assert len(asked) == 90


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["I like trains."], r"40 of 40 answers contain no rating.*'I like trains\.'"),
        (["Score: 9"], r"40 of 40 answers contain no rating.*'Score: 9'"),
        (["Score: 3", "Hm."], r"20 of 40 answers contain no rating.*'Hm\.'"),
        (["Score: 2"], r"every document was rated 2, such as 'Score: 2'"),
        (["Score: 2", None, None, "Score: 3"], None),
        (["Score: 2", None, None, None], r"10 of 40 documents were rated, 20 are needed"),
        ([None], r"0 of 40 documents were rated"),
    ],
)
def test_answers_that_nothing_can_be_learnt_from(
    tmp_path: Path, answers: list[str | None], message: str | None
):
    def ask(requests: Iterable[Request]) -> Iterator[Answer | Failure]:
        for _, answer in zip(requests, itertools.cycle(answers)):
            yield Failure("silence", "no answer") if answer is None else rate(answer)

    if message is None:
        statistics = run(tmp_path, lessons(20), kind="teacher", sample=40, ask=ask)
        assert (statistics["ratings"], statistics["ratings_missing"]) == (20, 20)
        return
    with pytest.raises(CorpusError, match=message) as caught:
        run(tmp_path, lessons(20), kind="teacher", sample=40, ask=ask)
    assert caught.value.where == "refine.score.teacher"
    assert "stronger teacher" in caught.value.next_step


def test_a_teacher_behind_an_endpoint_is_asked_and_its_rubbish_counted(tmp_path: Path):
    """The question goes over real HTTP; every third answer is none."""
    texts, seen = lessons(20), itertools.count()
    with rule_teacher() as server:
        server.answer = lambda said: "Hm." if next(seen) % 3 == 2 else f"Score: {worth(said)}"
        config = LLMConfig(kind="openai", model="m", url=server.url, parallel=1)
        with open_llm(config, where="refine.score.teacher", folder=tmp_path / "answers") as asking:
            statistics = run(tmp_path / "out", texts, kind="teacher", sample=45, ask=asking)
        assert len(server.asked) == 45
    assert (statistics["ratings"], statistics["ratings_rubbish"]) == (30, 15)
    assert {said for _, _, said in server.asked} <= set(texts)
    told = json.dumps([row["rating"] for row in read_jsonl(tmp_path / "out" / "ratings.jsonl")])
    assert told.count("null") == 15


@pytest.mark.parametrize(
    ("answer", "rating"),
    [
        ("Score: 4", 4),
        ("score is **3.5**", 3.5),
        ("Rating = 2,5", 2.5),
        ("I give 3 points.", 3),
        ("4/5", 4),
        ("4 out of 5", 4),
        (" 5. ", 5),
        ("At first I thought: score 2. On reflection, Score: 4", 4),
        ("Score: 0", 0),
        ("Score: 6", None),
        ("Score: -1", None),
        ("4 of the 7 rules hold", None),
        ("It teaches a lot.", None),
        ("", None),
    ],
)
def test_ratings_are_read_from_what_a_model_says(answer: str, rating: float | None):
    assert parse_rating(answer) == rating


def test_the_teacher_sees_a_bounded_piece_and_the_rubric_of_the_recipe():
    long = "".join(chr(97 + n % 26) for n in range(9_000))
    assert len(prompt(long)) < 3_100
    assert prompt(long).startswith(long[:2_000])
    assert long[4_500:5_500] in prompt(long)
    assert prompt("Short.") == "Short."
    assert "One point for bread." in instructions("One point for bread.")
    assert "textbook" in instructions(" ")


# The figures that say how far a judge can be trusted.


def test_figures_of_agreement_by_hand():
    import numpy as np

    truth, said = np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    assert auc(truth, said) == 0.75
    assert auc(truth, np.zeros(4)) == auc(np.ones(4), said) == 0.5
    assert spearman(np.array([1.0, 2, 3]), np.array([9.0, 5, 1])) == pytest.approx(-1)
    assert spearman(np.ones(3), np.array([1.0, 2, 3])) == 0
    assert f1(np.array([5.0, 4, 1, 2]), np.array([4.0, 2, 3, 1]), 3.0) == 0.5
    figure = resampled(auc, truth.tolist() * 20, said.tolist() * 20)
    assert 0.5 < figure.low < figure.value == 0.75 < figure.high < 1
    assert figure == resampled(auc, truth.tolist() * 20, said.tolist() * 20)
