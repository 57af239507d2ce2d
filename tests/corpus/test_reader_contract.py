"""The contract of every reader: what a document shows is text once, what it hides is not, and the rest is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from small_documents import small_documents
from tinsmith.corpus.read import read_file

DOCUMENTS = small_documents()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_is_shown_is_text_once_and_what_is_not_is_counted(tmp_path: Path, name: str) -> None:
    document, path = DOCUMENTS[name], tmp_path / name
    path.write_bytes(document.data)
    result = read_file(path)
    text = "\n\n".join(each["text"] for each in result.documents)
    assert {word: text.count(word) for word in document.shown.split()} == dict.fromkeys(
        document.shown.split(), 1
    )
    assert [word for word in document.hidden.split() if word in text] == []
    reasons = [row["reason"] for row in result.lost]
    assert set(document.lost) <= set(reasons), result.lost


def test_every_letter_of_a_mailbox_has_its_text(tmp_path: Path) -> None:
    (tmp_path / "box.mbox").write_bytes(DOCUMENTS["box.mbox"].data)
    texts = [each["text"] for each in read_file(tmp_path / "box.mbox").documents]
    assert len(texts) == 2
    assert texts[0] == texts[1]
    assert "plainword" in texts[0]
