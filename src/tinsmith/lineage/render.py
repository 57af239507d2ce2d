"""Render the results of trace and forget as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_LIMIT = 20  # documents of a passage, or rows of a list, that are printed; --json has all


def render_trace(found: dict[str, Any]) -> str:
    """Render the result of `trace`."""
    if found["kind"] == "passage":
        return "\n".join(_passage_lines(found))
    return "\n\n".join("\n".join(_document_lines(document)) for document in found["documents"])


def _passage_lines(found: dict[str, Any]) -> Iterator[str]:
    cut = f" (the first {found['searched']} were searched for)" if found["searched"] < found["words"] else ""
    documents = found["documents"]
    if not documents:
        yield f"{found['words']} words{cut}: in no document of this run, and no document has this name"
        return
    yield f"{found['words']} words{cut}, {len(documents)} documents"
    for entry in documents[:_LIMIT]:
        how = "all of it" if entry["exact"] else f"{entry['words']} words in a row, {entry['share']:.0%}"
        yield f"\n{entry['source']}: {how}"
        for row in entry["found"]:
            detail = f" ({row['detail']})" if row["detail"] else ""
            yield (
                f"  {row['stage']:7} {row['doc_id'][:12]}  {row['became']}{detail}, "
                f"characters {row['start']:,} to {row['end']:,}"
            )
    if len(documents) > _LIMIT:
        yield f"\n{len(documents) - _LIMIT} more: --json lists them"


def _document_lines(document: dict[str, Any]) -> Iterator[str]:
    yield document["source"] + ("  FORGOTTEN" if document["forgotten"] else "")
    read = document["read"]
    if read:
        why = f": {read['reason']} {read['detail']}" if read["reason"] else f", {read['documents']} documents"
        yield f"  read      {read['status']}{why}; sha256 {read['sha256'][:16]}"
    for row in document["ingested"][:_LIMIT]:
        yield f"  ingested  {row['doc_id']}, licence {row['licence'] or 'not stated'}"
    for row in document["curated"][:_LIMIT]:
        more = ", ".join(
            f"{name} {value}" for name, value in row.items() if name not in ("doc_id", "became") and value
        )
        yield f"  curated   {row['doc_id']}: {row['became']}" + (f", {more}" if more else "")
    for row in document["refined"][:_LIMIT]:
        yield f"  refined   {row['doc_id']}: {row['became']} by {row['step']}: {row['reason']} {row['detail']}"
    for row in document["sequences"]:
        yield f"  tokens    {row['tokens']:,} in {row['sequences']:,} sequences of {row['file']}"
    for name, rows in document["examples"].items():
        if rows:
            yield f"  {name:9} {rows} items"
    for row in document["synthetic"][:_LIMIT]:
        yield f"  written   {row['doc_id']} from it"
    for name, title in (("copies", "same text"), ("relatives", "similar")):
        for source in document[name][:_LIMIT]:
            yield f"  {title:9} {source}"
    for row in document["shared_runs"][:_LIMIT]:
        yield f"  shares    {row['words']} words in a row with {row['doc_id']}, across the split"
    for row in document["artefacts"]:
        rows = f" ({row['rows']})" if "rows" in row else ""
        yield f"  is in     {row['where']}: {row['what']}{rows}"


def render_forgotten(found: dict[str, Any], what: str) -> str:
    """Render the result of `forget`: what was marked, what still contains it, and what to do next."""
    lines = [f"forgotten from the next build on: {len(found['documents'])} documents"]
    for document in found["documents"]:
        lines.append("")
        lines += _document_lines({**document, "forgotten": False})
        if any(row.get("part") == "held_out" for row in document["curated"]):
            lines.append(
                "  it is held out: figures of the next evaluation are of other documents than before"
            )
    if found["relatives"]:
        lines += ["", "these have much of its text and stay:"]
        lines += [f"  {source}" for source in found["relatives"][:_LIMIT]]
        lines.append(f"-> to forget them too: tinsmith forget {what} --with-copies")
    lines += [
        "",
        "Everything listed above still contains it until `tinsmith build` has finished. The build reads, splits",
        "and trains again without it: weights are retrained, not unlearnt. You must remove the document's file",
        "and copies of the bundle elsewhere yourself.",
    ]
    return "\n".join(lines)
