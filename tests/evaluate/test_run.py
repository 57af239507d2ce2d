import pytest

from small_models import byte_tokenizer, tiny_model
from tinsmith.base.progress import SilentProgress
from tinsmith.evaluate.families.bits import Document
from tinsmith.evaluate.items import Item
from tinsmith.evaluate.run import Work, score_work
from tinsmith.evaluate.scoring.scorer import Scorer

TEXT = "The licensee may copy the software, but not sell it. " * 4


def _run(documents, items):
    scorer = Scorer(tiny_model(), name="m")
    before = scorer.tokens
    work = Work(tuple(documents), 512, {"kind": items} if items else {}, {("kind", 0): []} if items else {})
    found = score_work(scorer, byte_tokenizer(), work, progress=SilentProgress(), label="m")
    return found, scorer.tokens - before


def test_a_question_does_not_read_its_document_again():
    documents = [Document(f"d{n}", f"{n} {TEXT}", 0.0) for n in range(4)]
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
