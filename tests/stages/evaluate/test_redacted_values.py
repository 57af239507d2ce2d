"""What curation replaced is found again behind the same words, and only where it is a secret of its document."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from redacted_documents import documents, find, write_folders


@pytest.fixture
def folders(tmp_path):
    write_folders(tmp_path)
    return tmp_path


def test_originals_of_learnt_training_documents_are_found_behind_the_same_words(folders):
    found = {each.doc_id: each for each in find(folders)}
    assert found.keys() == {f"d{n}" for n in range(6)}  # one was not learnt from, one was held out
    for doc_id, _, text in documents()[:6]:
        original = found[doc_id]
        assert original.type == "email"
        assert text.startswith(original.lead + original.value)
        assert len(set(original.others) | {original.value}) == 16
    assert len(find(folders, limit=2)) == 2
    assert find(folders) == find(folders)
    assert found["d0"].value not in repr(found["d0"])


def test_what_the_document_says_in_the_open_is_no_secret(folders):
    text = documents()[0][2]
    open_text = text.replace("Notices", "See " + text.split(" go to ")[1].split(",")[0] + " for notices")
    row = {"doc_id": "d0", "source": "file0.txt", "part": "train"}
    kept = open_text.rsplit(text.split(" go to ")[1].split(",")[0], 1)
    table = pa.Table.from_pylist([row | {"text": "[EMAIL_1]".join(kept)}])
    pq.write_table(table, folders / "refine/documents.parquet")
    assert find(folders) == []
