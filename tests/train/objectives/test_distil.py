from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, PreTrainedModel

import tinsmith.train.chunked_loss as chunked
from plain_references import (
    as_double,
    assert_same,
    gradients_of,
    ours,
    plain_logits,
    sharp_gemma2,
    sharp_llama,
)
from small_models import byte_tokenizer
from tinsmith.base.assets import resolve_model
from tinsmith.base.errors import TrainingError
from tinsmith.base.progress import SilentProgress
from tinsmith.recipe import DistilConfig
from tinsmith.tokens.batches import Batch, Batches
from tinsmith.tokens.shards import ShardWriter, TokenSet
from tinsmith.tokens.tokenizer import save_tokenizer
from tinsmith.tokens.vocabulary import restrict_vocabulary
from tinsmith.train.attention import isolate_sequences
from tinsmith.train.engine import Engine
from tinsmith.train.loop import fit
from tinsmith.train.objectives.distil import Distil, choose_teacher
from tinsmith.train.teachers import CachedTeacher, LiveTeacher, Source, Vocabulary, divergence, in_buckets
from tinsmith.train.universal import UniversalTeacher
from tiny_model import tiny_model, tiny_tokenizer, write_trained
from tiny_training import VOCABULARY, config, make_batches, mixture_of, write_tokens

KEPT = sorted(np.random.default_rng(4).choice(VOCABULARY, 90, replace=False).tolist())


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return write_tokens(tmp_path_factory.mktemp("tokens"), documents=12, context=40)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked, "_LOGITS_AT_ONCE", 9 * VOCABULARY)


def settings(**more: float) -> DistilConfig:
    return DistilConfig.model_validate({"teacher": "one", **more})


def source(seed: int = 1) -> Source:
    return Source(f"seed {seed}", lambda: sharp_llama(seed))


def prepared(
    section: DistilConfig,
    batches: Batches,
    cache: Path,
    student: PreTrainedModel,
    *,
    vocabulary: Vocabulary | None = None,
    teacher: Source | None = None,
) -> Distil:
    kind = CachedTeacher if section.top_k else LiveTeacher
    vocabulary = vocabulary or Vocabulary(VOCABULARY)
    objective = Distil(section, kind(section, teacher or source(), vocabulary))
    objective.prepare(student, batches, cache, SilentProgress())
    return objective


def documents_of(batch: Batch) -> list[list[int]]:
    return [ids.tolist() for ids in batch.ids[0].split(batch.lengths)]


def plain_kl(p: Tensor, q: Tensor) -> Tensor:
    return (p * (p.log() - q.log())).sum()


def plain_distil(
    student: Tensor, teacher: Tensor, labels: Tensor, section: DistilConfig, top: int = 0
) -> Tensor:
    """Write the loss down as in the papers, over whole probabilities (S, V)."""
    p, q = (torch.softmax(each / section.temperature, dim=1) for each in (teacher, student))
    if top:
        ids = p.topk(top, dim=1).indices
        p, q = (torch.cat([each.gather(1, ids), 1 - each.gather(1, ids).sum(1, True)], 1) for each in (p, q))
    mix = (1 - section.reverse) * plain_kl(p, q) + section.reverse * plain_kl(q, p)
    text = cross_entropy(student, labels, reduction="sum")
    return (1 - section.share) * text + section.share * section.temperature**2 * mix


def whole(model: PreTrainedModel, batch: Batch, ids: list[int] | None = None) -> Tensor:
    """Return logits (S, V) at the batch's places; `ids` are the teacher's for each of the student's."""
    documents = documents_of(batch)
    read = documents if ids is None else [[ids[number] for number in document] for document in documents]
    return torch.cat(plain_logits(model, read))[batch.target_positions]


@pytest.mark.parametrize(
    ("share", "temperature", "reverse", "bias"),
    [(0.5, 1, 0, False), (1, 2, 0, True), (0.3, 1, 1, False), (0.7, 3, 0.4, False), (0, 1, 0, False)],
)
def test_loss_and_gradients_are_the_plain_ones(
    tokens: TokenSet, tmp_path: Path, share: float, temperature: float, reverse: float, bias: bool
) -> None:
    section = settings(share=share, temperature=temperature, reverse=reverse)
    student, batches = sharp_llama(0, bias=bias), make_batches(tokens, config(micro_rows=4))
    double, teacher = as_double(student), as_double(sharp_llama(1))
    batch = batches.step(0)[0]
    loss, gradients, figures = ours(prepared(section, batches, tmp_path, student), student, batch)
    with torch.no_grad():
        theirs = whole(teacher, batch)
    logits = whole(double, batch)
    assert_same((loss, gradients), plain_distil(logits, theirs, batch.labels, section), double)
    assert figures["cross_entropy"] == pytest.approx(
        float(cross_entropy(logits, batch.labels, reduction="sum").detach()), rel=1e-5
    )
    parts = (1 - share) * figures["cross_entropy"] + share * temperature**2 * figures["divergence"]
    assert loss == pytest.approx(parts, rel=1e-5)


@pytest.mark.parametrize("reverse", [0, 0.4, 1])
def test_the_likeliest_tokens_and_the_rest_make_one_distribution(
    tokens: TokenSet, tmp_path: Path, reverse: float
) -> None:
    section = settings(share=0.6, temperature=2, reverse=reverse, top_k=5)
    student, batches = sharp_llama(0), make_batches(tokens, config(micro_rows=4))
    double, teacher = as_double(student), as_double(sharp_llama(1))
    objective = prepared(section, batches, tmp_path, student)
    for batch in batches.step(1):
        loss, gradients, _ = ours(objective, student, batch)
        with torch.no_grad():
            theirs = whole(teacher, batch)
        plain = plain_distil(whole(double, batch), theirs, batch.labels, section, top=5)
        # What is on disk is rounded to float16, a part in 2000.
        assert loss == pytest.approx(float(plain.detach()), rel=1e-3)
        got, expected = (
            torch.cat([each.flatten().double() for each in every])
            for every in (gradients, gradients_of(plain, double))
        )
        assert float((got - expected).norm() / expected.norm()) < 2e-3


@pytest.mark.parametrize("top_k", [0, 5])
def test_capped_logits_learn_from_capped_logits(tokens: TokenSet, tmp_path: Path, top_k: int) -> None:
    section = settings(share=0.6, temperature=2, reverse=0.4, top_k=top_k)
    student, batches = sharp_gemma2(0), make_batches(tokens, config(micro_rows=4))
    double, teacher = as_double(student), as_double(sharp_gemma2(1))
    capped = Source("capped", lambda: sharp_gemma2(1))
    objective, batch = prepared(section, batches, tmp_path, student, teacher=capped), batches.step(0)[0]
    loss, gradients, _ = ours(objective, student, batch)
    with torch.no_grad():
        theirs = whole(teacher, batch)
    plain = plain_distil(whole(double, batch), theirs, batch.labels, section, top=top_k)
    if top_k:  # on disk, rounded to float16
        assert loss == pytest.approx(float(plain.detach()), rel=1e-3)
    else:
        assert_same((loss, gradients), plain, double)


def test_bucketed_divergence_is_exact_in_what_is_cached() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(20, 50, requires_grad=True), torch.randn(20, 50)
    ids = teacher.topk(4, dim=1).indices
    theirs = in_buckets(teacher.log_softmax(1), ids)
    torch.testing.assert_close(theirs.exp().sum(1), torch.ones(20))
    got = divergence(in_buckets(student.log_softmax(1), ids), theirs, 0.25)
    section = settings(share=1, temperature=1, reverse=0.25)
    exact = student.detach().double().requires_grad_()
    plain = plain_distil(exact, teacher.double(), torch.zeros(20, dtype=torch.int64), section, top=4)
    torch.testing.assert_close(got.double(), plain, rtol=1e-5, atol=0)
    mine, expected = torch.autograd.grad(got, student)[0], torch.autograd.grad(plain, exact)[0]
    torch.testing.assert_close(mine.double(), expected, rtol=1e-4, atol=1e-6)


def kept_tokens(directory: Path) -> TokenSet:
    """Write tokens of the smaller vocabulary."""
    directory.mkdir()
    writer, generator = ShardWriter(directory), np.random.default_rng(0)
    for number in range(6):
        ids = generator.integers(0, len(KEPT), 30).tolist()
        writer.add(f"d{number}", 0, ids, [1] * 30)
    writer.close(range(6), {"context": 40, "vocabulary": len(KEPT)})
    return TokenSet(directory)


@pytest.mark.parametrize("top_k", [0, 4])
def test_a_teacher_of_more_tokens_is_compared_over_those_that_were_kept(tmp_path: Path, top_k: int) -> None:
    section = settings(share=0.6, temperature=2, reverse=0.3, top_k=top_k)
    student, tokens = sharp_llama(0), kept_tokens(tmp_path / "tokens")
    student.resize_token_embeddings(len(KEPT) + 6)  # rows beyond the vocabulary, as padding makes them
    batches = make_batches(tokens, config(micro_rows=2))
    double, teacher = as_double(student), as_double(sharp_llama(1))
    vocabulary = Vocabulary(len(KEPT), torch.tensor(KEPT))
    objective = prepared(section, batches, tmp_path / "cache", student, vocabulary=vocabulary)
    batch = batches.step(0)[0]
    loss, gradients, _ = ours(objective, student, batch)
    logits = whole(double, batch)
    with torch.no_grad():
        theirs = whole(teacher, batch, KEPT)[:, KEPT]
    only = settings(share=1, temperature=2, reverse=0.3)
    zeros = torch.zeros_like(batch.labels)
    mix = plain_distil(logits[:, : len(KEPT)], theirs, zeros, only, top=top_k)
    plain = 0.4 * cross_entropy(logits, batch.labels, reduction="sum") + 0.6 * mix
    if not top_k:
        assert_same((loss, gradients), plain, double)
    assert loss == pytest.approx(float(plain.detach()), rel=1e-3 if top_k else 1e-5)


@pytest.mark.parametrize("top_k", [0, 8])
def test_who_is_its_own_teacher_has_nothing_to_learn(tokens: TokenSet, tmp_path: Path, top_k: int) -> None:
    section = settings(share=1, temperature=2, reverse=0.5, top_k=top_k)
    student, batches = sharp_llama(1), make_batches(tokens, config(micro_rows=4))
    objective = prepared(section, batches, tmp_path, student)
    loss, gradients, figures = ours(objective, student, batches.step(0)[0])
    other = ours(objective, sharp_llama(0), batches.step(0)[0])[1]
    bound = 3e-3 if top_k else 1e-6  # log-probabilities in float16 are off by a part in 2000
    assert abs(loss) < bound * figures["cross_entropy"]
    assert max(float(each.abs().max()) for each in gradients) < bound * max(
        float(each.abs().max()) for each in other
    )


@pytest.mark.parametrize("top_k", [0, 8])
def test_the_teachers_documents_do_not_see_each_other(tokens: TokenSet, tmp_path: Path, top_k: int) -> None:
    batches, student = make_batches(tokens, config(micro_rows=4)), sharp_llama(0)
    objective = prepared(settings(share=1, top_k=top_k), batches, tmp_path, student)
    isolate_sequences(student)
    sums = []
    for groups in ([0], [1], [0, 1], [1, 0]):
        with torch.no_grad():
            sums.append(float(objective.loss(student, batches.batch(groups))[0]))
    assert sums[2] == pytest.approx(sums[0] + sums[1], rel=1e-5)
    assert sums[3] == pytest.approx(sums[0] + sums[1], rel=1e-5)


def step_gradients(objective: Distil, student: PreTrainedModel, batches: Batches) -> list[Tensor]:
    isolate_sequences(student)
    return gradients_of(sum(objective.loss(student, batch)[0] for batch in batches.step(0)), student)


@pytest.mark.parametrize("top_k", [0, 8])
def test_a_step_does_not_depend_on_its_micro_batches(tokens: TokenSet, tmp_path: Path, top_k: int) -> None:
    found, counts = [], []
    for rows in (1, 4):
        student, batches = sharp_llama(0), make_batches(tokens, config(micro_rows=rows))
        objective = prepared(settings(top_k=top_k), batches, tmp_path / "cache", student)
        found.append(step_gradients(objective, student, batches))
        counts.append(len(batches.step(0)))
    assert counts[0] > counts[1]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


class Killed(Exception):
    pass


class DiesAfter(SilentProgress):
    """Raise in the middle of a piece of work, after so many advances."""

    def __init__(self, advances: int) -> None:
        self.left = advances

    @contextmanager
    def task(self, what: str, total: float | None, unit: str) -> Iterator:
        def advance(amount: float) -> None:
            self.left -= 1
            if self.left == 0:
                raise Killed

        yield advance


def files_in(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_killed_cache_goes_on_and_ends_with_the_same_bytes(tokens: TokenSet, tmp_path: Path) -> None:
    section, student = settings(top_k=6), sharp_llama(0)
    opened: list[int] = []
    teacher = Source("one", lambda: opened.append(1) or sharp_llama(1))
    prepared(
        section, make_batches(tokens, config(micro_rows=4)), tmp_path / "plain", student, teacher=teacher
    )
    batches = make_batches(tokens, config(micro_rows=1))
    for advances in (1, 2):
        objective = Distil(section, CachedTeacher(section, teacher, Vocabulary(VOCABULARY)))
        with pytest.raises(Killed):
            objective.prepare(student, batches, tmp_path / "cache", DiesAfter(advances))
        with (tmp_path / "cache" / "ids.bin").open("ab") as file:
            file.write(b"half a row")
    before = {name: len(data) for name, data in files_in(tmp_path / "cache").items()}
    prepared(section, batches, tmp_path / "cache", student, teacher=teacher)
    assert before["ids.bin"] < len(files_in(tmp_path / "cache")["ids.bin"])
    assert files_in(tmp_path / "cache") == files_in(tmp_path / "plain")
    targets = sum(int(tokens.sequence(number)[1][1:].sum()) for number in range(len(tokens)))
    sizes = {name: len(data) for name, data in files_in(tmp_path / "plain").items() if name.endswith(".bin")}
    assert sum(sizes.values()) == targets * (6 * 6 + 2)
    assert len(opened) == 4
    # What is whole needs no teacher.
    prepared(
        section, batches, tmp_path / "cache", student, teacher=Source("one", lambda: pytest.fail("opened"))
    )


def test_only_what_is_missing_is_computed(tokens: TokenSet, tmp_path: Path) -> None:
    section, student = settings(top_k=6), sharp_llama(0)
    objective = Distil(section, CachedTeacher(section, source(), Vocabulary(VOCABULARY)))
    batches = make_batches(tokens, config())
    with pytest.raises(Killed):
        objective.prepare(student, batches, tmp_path, DiesAfter(3))
    done = files_in(tmp_path)["ids.bin"]
    spoiled = bytes(len(done))
    (tmp_path / "ids.bin").write_bytes(spoiled)
    prepared(section, batches, tmp_path, student)
    assert files_in(tmp_path)["ids.bin"].startswith(spoiled)


def test_a_cache_of_anything_else_is_refused(tokens: TokenSet, tmp_path: Path) -> None:
    section, student, batches = settings(top_k=6), sharp_llama(0), make_batches(tokens, config())
    prepared(section, batches, tmp_path / "cache", student)
    others = write_tokens(tmp_path / "others", documents=11, context=40)
    for changed, what in (
        ({"teacher": source(2)}, "teacher"),
        ({"section": settings(top_k=7)}, "columns"),
        ({"section": settings(top_k=6, temperature=2)}, "temperature"),
        ({"batches": make_batches(others, config())}, "tokens"),
        ({"vocabulary": Vocabulary(VOCABULARY, torch.arange(VOCABULARY).flip(0))}, "vocabulary"),
    ):
        given = {"section": section, "batches": batches, **changed}
        with pytest.raises(TrainingError, match=f"another run: {what} differ"):
            prepared(given.pop("section"), given.pop("batches"), tmp_path / "cache", student, **given)


def test_teachers_that_cannot_teach_are_refused(tokens: TokenSet, tmp_path: Path) -> None:
    student, batches = sharp_llama(0), make_batches(tokens, config())
    with pytest.raises(TrainingError, match="it has 360 tokens, and the student has 400"):
        prepared(settings(), batches, tmp_path, student, vocabulary=Vocabulary(400))
    with pytest.raises(TrainingError, match="leave no other token to sum up"):
        prepared(settings(top_k=VOCABULARY), batches, tmp_path, student)
    warped = sharp_llama(1)
    warped.lm_head.register_forward_hook(lambda *call: call[2] * 2)
    with pytest.raises(TrainingError, match=r"distil.teacher: llama scales"):
        prepared(settings(), batches, tmp_path, student, teacher=Source("w", lambda: warped))


def test_the_teacher_stays_as_it_is(tokens: TokenSet, tmp_path: Path) -> None:
    student, batches, teacher = sharp_llama(0), make_batches(tokens, config()), sharp_llama(1).train()
    before = copy.deepcopy(teacher.state_dict())
    objective = prepared(settings(), batches, tmp_path, student, teacher=Source("t", lambda: teacher))
    ours(objective, student, batches.step(0)[0])
    assert not teacher.training
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in teacher.parameters())
    assert all(torch.equal(before[name], each) for name, each in teacher.state_dict().items())


class Told(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trained(tmp_path_factory.mktemp("teacher") / "big")


def chosen(teacher: Path, tokenize: Path, **more: object) -> tuple[object, str]:
    section = config(objective="distil", distil={"teacher": str(teacher), **more}).distil
    told = Told()
    return choose_teacher(section, resolve_model(str(teacher)), tokenize, told), told.lines[-1]


def test_the_teacher_is_chosen_by_its_tokenizer_and_said(teacher: Path, tmp_path: Path) -> None:
    save_tokenizer(tiny_tokenizer(), tmp_path / "same" / "tokenizer")
    found, said = chosen(teacher, tmp_path / "same")
    assert isinstance(found, LiveTeacher)
    assert found.vocabulary.kept is None
    assert said == "  teacher: big, compared over the same tokens, in memory"
    found, said = chosen(teacher, tmp_path / "same", top_k=8)
    assert isinstance(found, CachedTeacher)
    assert said.endswith("its top 8 cached on disk")

    smaller, kept = restrict_vocabulary(tiny_tokenizer(), [0] * 400, 300)
    save_tokenizer(smaller, tmp_path / "kept" / "tokenizer")
    (tmp_path / "kept" / "kept.json").write_text(json.dumps({"kept": kept}))
    found, said = chosen(teacher, tmp_path / "kept")
    assert isinstance(found, LiveTeacher)
    assert found.vocabulary.kept.tolist() == kept
    assert "the 300 tokens that were kept" in said
    # Ids that do not fit to the teacher's tokens are no map.
    (tmp_path / "kept" / "kept.json").write_text(json.dumps({"kept": kept[1:] + kept[:1]}))
    assert isinstance(chosen(teacher, tmp_path / "kept")[0], UniversalTeacher)

    save_tokenizer(byte_tokenizer(), tmp_path / "other" / "tokenizer")
    found, said = chosen(teacher, tmp_path / "other")
    assert isinstance(found, UniversalTeacher)
    assert "another tokenizer" in said


def test_the_model_that_streamline_began_with_teaches_where_no_other_is_named(tmp_path: Path) -> None:
    base = write_trained(tmp_path / "base")
    write_tokens(tmp_path / "tokenize")
    save_tokenizer(tiny_tokenizer(), tmp_path / "tokenize" / "tokenizer")
    section = config(objective="distil", streamline={"layers": 1})
    told = Told()
    (part,) = mixture_of(section, tmp_path / "tokenize", told).components
    assert told.lines == ["  teacher: base, compared over the same tokens, in memory"]
    assert part.objective.teacher.source.identity == resolve_model(str(base)).sha256
    with pytest.raises(ValueError, match=r"name distil\.teacher"):
        config(objective="distil")


@pytest.mark.parametrize("top_k", [0, 16])
def test_a_student_becomes_like_its_teacher(tmp_path: Path, top_k: int) -> None:
    teacher = write_trained(tmp_path / "base")
    write_tokens(tmp_path / "tokenize", documents=6)
    save_tokenizer(tiny_tokenizer(), tmp_path / "tokenize" / "tokenizer")
    torch.manual_seed(0)
    student = AutoModelForCausalLM.from_config(tiny_model().config)
    distil = {"teacher": str(teacher), "share": 1.0, "top_k": top_k}
    section = config("15 steps", objective="distil", distil=distil, learning_rate=1e-2, rollbacks=0)
    engine = Engine(student, section, mixture_of(section, tmp_path / "tokenize"), seed=7)
    rows = fit(engine, out=tmp_path / "out", progress=SilentProgress())
    assert rows[-1]["divergence"] < 0.8 * rows[0]["divergence"]
    assert rows[0]["loss"] == pytest.approx(rows[0]["divergence"], rel=1e-5)
