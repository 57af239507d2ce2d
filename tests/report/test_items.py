"""Pages down to the single item: all subjects side by side, hostile text harmless, many items in parts."""

import json
import shutil

import pytest

from report.fake_runs import make_bundle
from tinsmith.evaluate.families import families
from tinsmith.report.page import rebuild_report
from tinsmith.stages import PURPOSES

HOSTILE = '</p><script>alert(1)</script> & "quoted"'


def _write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _answer(number, shots, prediction, scores):
    return {
        "item": f"cloze:{number}",
        "task": "cloze",
        "doc_id": f"d{number}",
        "span": [3, 9],
        "shots": shots,
        "answer": "fee",
        "prediction": prediction,
        "correct": prediction == "fee",
        "scores": scores,
    }


@pytest.fixture
def bundle(tmp_path):
    """Two questions answered by our model, a rival and a baseline, one of them in hostile words."""
    made = make_bundle(tmp_path)
    items = made / "items"
    for path in items.glob("*.jsonl"):
        path.unlink()
    question = {"task": "cloze", "choices": ["fee", HOSTILE], "answer": "fee", "question": HOSTILE}
    _write(
        items / "questions.jsonl",
        [
            question
            | {"item": f"cloze:{n}", "doc_id": f"d{n}", "text": f"{HOSTILE} text {n}", "span": [3, 9]}
            for n in range(2)
        ],
    )
    right, wrong = {"fee": -1.0, HOSTILE: -2.5}, {"fee": -3.0, HOSTILE: -0.5}
    _write(items / "exam-trained.jsonl", [_answer(0, 0, "fee", right), _answer(1, 0, HOSTILE, wrong)])
    _write(items / "exam-gemma.jsonl", [_answer(0, 0, HOSTILE, wrong), _answer(1, 0, "fee", right)])
    _write(items / "exam-majority.jsonl", [_answer(n, 0, "fee", {}) for n in range(2)])
    _write(
        items / "bits-trained.jsonl",
        [{"doc_id": "d0", "bits": 90.0, "bytes": 100, "tokens": 30, "overlap": 0.25}],
    )
    _write(
        items / "leakage-trained.jsonl",
        [{"doc_id": "d0", "part": "train", "copies": 2, "loss": 0.125, "extracted": True}],
    )
    rebuild_report(made, families(), PURPOSES)
    return made


def test_a_question_shows_what_each_subject_chose_and_how_sure_it_was(bundle):
    page = (bundle / "pages/cloze-0-shot.html").read_text()
    assert page.count("<article") == 2
    assert "ours-right rival-wrong control-right" in page
    assert "ours-wrong rival-right control-right" in page
    for shown in ("-1.00", "-2.50", "-3.00", "-0.50", "●", "characters 3 to 9", "This model"):
        assert shown in page
    assert page.count("chosen") - page.count("td.chosen") == 6


def test_one_of_several_that_was_right_is_enough_for_the_filter(bundle):
    wrong = [_answer(number, 0, HOSTILE, {}) for number in range(2)]
    _write(bundle / "items" / "exam-tfidf.jsonl", wrong)
    rebuild_report(bundle, families(), PURPOSES)
    page = (bundle / "pages/cloze-0-shot.html").read_text()
    assert "ours-right rival-wrong control-right" in page
    assert "control-wrong" not in page


def test_hostile_text_stays_text(bundle):
    for path in (bundle / "pages").glob("*.html"):
        page = path.read_text()
        assert "<script" not in page
        assert "default-src 'none'" in page
    assert "&lt;script&gt;" in (bundle / "pages/cloze-0-shot.html").read_text()


def test_documents_and_passages_have_a_row_each_and_all_pages_are_linked(bundle):
    assert "0.900" in (bundle / "pages/documents.html").read_text()
    assert "0.125 word for word" in (bundle / "pages/passages.html").read_text()
    index = (bundle / "pages/index.html").read_text()
    names = {path.name for path in (bundle / "pages").iterdir()} - {"index.html"}
    assert names == {"cloze-0-shot.html", "documents.html", "passages.html"}
    assert all(f'href="{name}"' in index for name in names)
    assert 'href="pages/index.html"' in (bundle / "report.html").read_text()


def test_many_questions_come_in_parts_and_old_parts_go(bundle):
    scores = {"fee": -1.0, HOSTILE: -2.5}
    for name in ("trained", "gemma", "base", "trained-4bit"):
        rows = [_answer(number, 0, "fee", scores) for number in range(450)]
        _write(bundle / "items" / f"exam-{name}.jsonl", rows)
    rebuild_report(bundle, families(), PURPOSES)
    parts = sorted((bundle / "pages").glob("cloze-*.html"))
    assert [path.name for path in parts] == [f"cloze-0-shot-{n}.html" for n in (1, 2, 3)]
    assert [path.read_text().count("<article") for path in parts] == [200, 200, 50]
    assert max(path.stat().st_size for path in parts) < 1_000_000


def test_without_items_there_are_no_pages(bundle):
    shutil.rmtree(bundle / "items")
    rebuild_report(bundle, families(), PURPOSES)
    assert not (bundle / "pages").exists()
