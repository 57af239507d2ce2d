"""What left the machine is told by host, with what stayed; where nobody wrote it down, that is told too."""

import re
import shutil
from pathlib import Path

from report.test_page import read_page
from tinsmith.base.files import JsonObject, read_json, write_json
from tinsmith.evaluate.families import families
from tinsmith.report.evidence import build_evidence
from tinsmith.report.page import rebuild_report
from tinsmith.report.sent import read_sent
from tinsmith.stages import PURPOSES


def words_of(bundle: Path) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", (bundle / "report.html").read_text()))


def again(bundle: Path, to: Path, **files: JsonObject) -> str:
    """Rebuild the page of a copy with other records; return its words."""
    copy = shutil.copytree(bundle, to / "bundle")
    shutil.rmtree(copy / "data" / "sent")
    for stage, record in files.items():
        write_json(copy / "data" / "sent" / f"{stage}.json", record)
    rebuild_report(copy, families(), PURPOSES)
    return words_of(copy)


def test_documents_and_bytes_are_counted_by_host(bundle: Path, evidence: JsonObject) -> None:
    (host,) = evidence["sent"]["hosts"]
    assert host["host"] == "llm.example.org"
    assert (host["documents"], host["requests"], host["bytes"]) == (4, 6, 3000)
    assert host["sections"] == ["evaluate.endpoints.0", "refine.score.teacher"]
    assert read_page(bundle).tables["sent"] == [4, 6, 3000]
    text = words_of(bundle)
    assert "Left the machine 4 documents to llm.example.org, 3.00 kB of requests" in text
    assert "Kept from refine.score.teacher: 7 documents with a label that may not leave" in text
    assert "not on record" not in text


def test_nothing_left_is_said_only_where_that_is_known(bundle: Path, tmp_path: Path) -> None:
    nothing: JsonObject = {"requests": [], "left_out": {}}
    known = again(bundle, tmp_path / "known", refine=nothing, evaluate=nothing)
    assert "Nothing: no request with text of a document was sent to another machine" in known
    assert "Left the machine nothing of the documents' text" in known
    half = again(bundle, tmp_path / "half", refine=nothing)
    assert "Whether text of documents was sent to another machine is not on record" in half
    assert "nothing of the documents' text" not in half


def test_a_changed_record_is_found(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    path = copy / "data" / "sent" / "refine.json"
    record = read_json(path)
    record["requests"].pop()
    write_json(path, record)
    stored = read_json(copy / "evidence.json")["sent"]
    assert build_evidence(copy, families()).to_json()["sent"] != stored


def test_a_build_of_jobs_alone_asks_in_one_stage(tmp_path: Path) -> None:
    row = {
        "where": "evaluate.endpoints.0",
        "host": "h",
        "request": "r",
        "documents": ["j/e.csv:1"],
        "bytes": 9,
    }
    write_json(tmp_path / "evaluate.json", {"requests": [row], "left_out": {}})
    assert read_sent(tmp_path, has_documents=True) is None
    sent = read_sent(tmp_path, has_documents=False)
    assert sent is not None
    assert [(host.host, host.documents, host.bytes) for host in sent.hosts] == [("h", 1, 9)]
