"""Documents of which curation replaced an address each, as the stages ingest and refine leave them."""

import random

import pyarrow as pa
import pyarrow.parquet as pq

from tinsmith.corpus.privacy.protect import Protector
from tinsmith.recipe import PrivacyConfig
from tinsmith.stages.evaluate.redacted_values import find_redacted_values


def documents():
    draw = random.Random(1)
    rows = []
    for number in range(8):
        name = "".join(draw.choices("abcdefghij", k=6))
        text = f"Notices under agreement {number} of the parties go to {name}@mail{number}.example, and nowhere else."
        rows.append((f"d{number}", f"file{number}.txt", text))
    return rows


def write_folders(folder):
    """Write what ingest and refine leave: the text as it came, and with placeholders; the last one is held out."""
    rows, protector = documents(), Protector(PrivacyConfig())
    (folder / "ingest").mkdir()
    (folder / "refine").mkdir()
    came = [{"source": source, "text": text} for _, source, text in rows]
    pq.write_table(pa.Table.from_pylist(came), folder / "ingest/documents.parquet")
    kept = [
        {"doc_id": doc_id, "source": source, "text": protector.protect(text).text, "part": "train"}
        for doc_id, source, text in rows
    ]
    kept[7]["part"] = "held_out"
    assert all("[EMAIL_1]" in row["text"] for row in kept)
    pq.write_table(pa.Table.from_pylist(kept), folder / "refine/documents.parquet")


def find(folders, **changes):
    """Find the values of all documents but one that was not learnt from."""
    learnt = {f"d{n}" for n in range(8)} - {"d6"}
    options = {"limit": 20, "seed": 3, **changes}
    return find_redacted_values(folders / "ingest", folders / "refine", learnt, **options)
