"""What a model is asked shares what it reads, and is asked again only where something changed."""

import pytest
import torch

from small_models import byte_tokenizer, tiny_model
from tinsmith.base.files import list_files, read_json, read_jsonl
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate import run
from tinsmith.evaluate.families import families
from tinsmith.evaluate.models import EvalModel
from tinsmith.evaluate.probe import HeldOutText, Probe
from tinsmith.evaluate.run import Work, drop_other_subjects, score_model, score_texts
from tinsmith.evaluate.scoring.scorer import Scorer
from tinsmith.evidence.items import Item
from tinsmith.stages.evaluate import STAGE

TEXT = "The licensee may copy the software, but not sell it. " * 4


def _run(documents, items):
    scorer = Scorer(tiny_model(), name="m")
    before = scorer.tokens
    work = Work(tuple(documents), 512, {"kind": items} if items else {}, {("kind", 0): []} if items else {})
    found = score_texts(scorer, byte_tokenizer(), work, progress=SilentProgress(), label="m")
    return found, scorer.tokens - before


def test_a_question_does_not_read_its_document_again():
    documents = [HeldOutText(f"d{n}", f"{n} {TEXT}", 0.0) for n in range(4)]
    items = [
        Item(d.doc_id, "kind", d.doc_id, d.text[:150], "\n\nKind:", "x", ("x", "y y")) for d in documents
    ]
    (bits, none), plain = _run(documents, [])
    (_, alone), apart = _run([], items)
    (both_bits, both), together = _run(documents, items)
    assert none == []
    assert together - plain < 0.25 * apart
    assert [row["bits"] for row in both_bits] == pytest.approx([row["bits"] for row in bits], rel=1e-5)
    for row, other in zip(both, alone, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=5e-3)


class Session:
    """Score one small model again and again, and note what it was asked each time."""

    def __init__(self, folder, monkeypatch):
        tiny_model().save_pretrained(folder / "model")
        byte_tokenizer().save_pretrained(folder / "model")
        self.folder, self.items, self.asked, self.killed_by = folder, folder / "items", [], None
        real_opened, real_texts, real_write = run.opened, run.score_texts, run.write_json

        def opened(model, precision, device):
            self.asked.append("opened")
            return real_opened(model, precision, device)

        def texts(*given, **named):
            self.asked.append("text")
            return real_texts(*given, **named)

        def write(path, value):
            # The last file of a model, with the fingerprints of all that was scored.
            if self.killed_by == "about" and len(value["fingerprints"]) == 3:
                raise KeyboardInterrupt
            real_write(path, value)

        monkeypatch.setattr(run, "opened", opened)
        monkeypatch.setattr(run, "score_texts", texts)
        monkeypatch.setattr(run, "write_json", write)

    def score(self, *, subject="trained", text=TEXT, precision="float32", **probes):
        """Score the model; each probe is asked for by what it is about. Return what was asked of it."""
        self.asked.clear()
        made = tuple(Probe(kind, (about,), 1, self._ask(kind, about)) for kind, about in probes.items())
        documents = (HeldOutText("d0", text, 0.0), HeldOutText("d1", TEXT, 0.5))
        question = Item("q", "kind", "d0", text[:50], "\n\nKind:", "x", ("x", "y"))
        work = Work(documents, 512, {"kind": [question]}, {("kind", 0): []}, made, precision)
        model = EvalModel(subject, subject, self.folder / "model", "")
        score_model(model, byte_tokenizer(), work, items=self.items, progress=SilentProgress())
        return list(self.asked)

    def _ask(self, kind, about):
        def ask(scorer, tokenizer, advance):
            self.asked.append(kind)
            if self.killed_by == kind:
                raise KeyboardInterrupt
            advance(1)
            return [{"doc_id": "d0", "said": about}]

        return ask

    def stamps(self):
        """Return what tells files apart that were written again, though with the same content."""
        return {str(name): (self.items / name).stat().st_ino for name in list_files(self.items)}

    def said(self, kind, subject="trained"):
        return [row["said"] for row in read_jsonl(self.items / f"{kind}-{subject}.jsonl")]


@pytest.fixture
def session(tmp_path, monkeypatch):
    return Session(tmp_path, monkeypatch)


ALL = {"bias": "one", "leakage": "two"}


def test_what_did_not_change_opens_no_model_and_writes_no_file(session):
    assert session.score(**ALL) == ["opened", "text", "bias", "leakage"]
    stored = session.stamps()
    assert set(stored) == {f"{kind}-trained.jsonl" for kind in ("bias", "bits", "exam", "leakage")} | {
        "about-trained.json"
    }
    assert session.score(**ALL) == []
    assert session.stamps() == stored


def test_only_the_kind_that_changed_is_asked_again(session):
    session.score(**ALL)
    stored = session.stamps()
    assert session.score(bias="other", leakage="two") == ["opened", "bias"]
    assert session.said("bias") == ["other"]
    changed = {name for name, stamp in session.stamps().items() if stored[name] != stamp}
    assert changed == {"bias-trained.jsonl", "about-trained.json"}
    assert session.score(bias="other", leakage="two") == []
    assert session.score(text=f"Other. {TEXT}", bias="other", leakage="two") == ["opened", "text"]
    assert session.score(text=f"Other. {TEXT}", bias="other", leakage="two") == []


def test_what_every_score_depends_on_is_asked_again_as_a_whole(session):
    session.score(**ALL)
    everything = ["opened", "text", "bias", "leakage"]
    assert session.score(precision="bfloat16", **ALL) == everything
    assert read_json(session.items / "about-trained.json")["precision"] == "bfloat16"
    settings = session.folder / "model" / "config.json"
    settings.write_text(settings.read_text() + "\n")
    assert session.score(precision="bfloat16", **ALL) == everything


def test_what_is_asked_no_more_leaves_no_trace_and_is_asked_again_later(session):
    session.score(**ALL)
    assert session.score(bias="one") == []
    assert not (session.items / "leakage-trained.jsonl").exists()
    assert session.said("bias") == ["one"]
    assert session.score(**ALL) == ["opened", "leakage"]


@pytest.mark.parametrize("moment", ["leakage", "about"])
def test_killed_between_items_and_fingerprint_they_are_scored_again(session, moment):
    session.score(**ALL)
    session.killed_by = moment
    with pytest.raises(KeyboardInterrupt):
        session.score(bias="other", leakage="another")
    # New items of `bias` are there, and nothing may take them for those of the recipe that was scored before.
    assert session.said("bias") == ["other"]
    session.killed_by = None
    assert session.score(**ALL) == ["opened", "bias", "leakage"]
    assert (session.said("bias"), session.said("leakage")) == (["one"], ["two"])


def test_killed_the_first_time_everything_is_scored_again(session):
    session.killed_by = "about"
    with pytest.raises(KeyboardInterrupt):
        session.score(**ALL)
    session.killed_by = None
    assert session.score(**ALL) == ["opened", "text", "bias", "leakage"]


@pytest.mark.parametrize(("subject", "probed"), [("base", True), ("trained-4bit", False), ("a-rival", False)])
def test_our_model_and_its_base_are_probed_and_no_other(session, subject, probed):
    asked = session.score(subject=subject, **ALL)
    assert asked == ["opened", "text", *(["bias", "leakage"] if probed else [])]
    assert session.score(subject=subject, bias="other", leakage="two") == (
        ["opened", "bias"] if probed else []
    )


def test_about_says_what_was_scored(session):
    session.score(**ALL)
    about = read_json(session.items / "about-trained.json")
    assert set(about["fingerprints"]) == {"text", "bias", "leakage"}
    assert len(set(about["fingerprints"].values())) == 3
    assert (about["branches"], about["precision"]) == (True, "float32")


def test_items_of_other_subjects_are_dropped(session):
    session.score(**ALL)
    session.score(subject="base", **ALL)
    drop_other_subjects(session.items, ["base"], ["about", *(family.kind for family in families())])
    kinds = ("about", "bias", "bits", "exam", "leakage")
    assert [str(name).split(".")[0] for name in list_files(session.items)] == [
        f"{kind}-base" for kind in kinds
    ]


def test_another_attempt_may_take_up_all_that_a_model_was_asked(session):
    session.score(**ALL)
    found = {path for pattern in STAGE.reusable for path in session.folder.glob(pattern)}
    assert found == set(session.items.iterdir())


def test_scores_of_another_device_are_not_taken_over(session):
    model = EvalModel("trained", "trained", session.folder / "model", "")
    prints = [Work((), 512, device=torch.device(name)).fingerprints(model) for name in ("cpu", "cuda")]
    assert prints[0]["text"] != prints[1]["text"]
