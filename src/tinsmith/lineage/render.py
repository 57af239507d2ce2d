"""What trace and forget found, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MOST = 20  # documents of a passage, or rows of a kind, that are printed; --json gives all


def tell_trace(found: dict[str, Any]) -> str:
    """Return the lines of a trace."""
    if found["kind"] == "passage":
        return "\n".join(_tell_passage(found))
    return "\n\n".join("\n".join(_tell_document(document)) for document in found["documents"])


def _tell_passage(found: dict[str, Any]) -> Iterator[str]:
    cut = f" (the first {found['searched']} were searched for)" if found["searched"] < found["words"] else ""
    documents = found["documents"]
    if not documents:
        yield f"{found['words']} words{cut}: in no document of this run, and no document is called so"
        return
    yield f"{found['words']} words{cut}, {len(documents)} documents"
    for entry in documents[:_MOST]:
        how = "all of it" if entry["exact"] else f"{entry['words']} words in a row, {entry['share']:.0%}"
        yield f"\n{entry['source']}: {how}"
        for row in entry["found"]:
            detail = f" ({row['detail']})" if row["detail"] else ""
            yield (
                f"  {row['stage']:7} {row['doc_id'][:12]}  {row['became']}{detail}, "
                f"characters {row['start']:,} to {row['end']:,}"
            )
    if len(documents) > _MOST:
        yield f"\n{len(documents) - _MOST} more: --json lists them"


def _tell_document(document: dict[str, Any]) -> Iterator[str]:
    yield document["source"] + ("  FORGOTTEN" if document["forgotten"] else "")
    read = document["read"]
    if read:
        why = f": {read['reason']} {read['detail']}" if read["reason"] else f", {read['documents']} documents"
        yield f"  read      {read['status']}{why}; sha256 {read['sha256'][:16]}"
    for row in document["ingested"][:_MOST]:
        yield f"  ingested  {row['doc_id']}, licence {row['licence'] or 'not stated'}"
    for row in document["curated"][:_MOST]:
        more = ", ".join(
            f"{name} {value}" for name, value in row.items() if name not in ("doc_id", "became") and value
        )
        yield f"  curated   {row['doc_id']}: {row['became']}" + (f", {more}" if more else "")
    for row in document["refined"][:_MOST]:
        yield f"  refined   {row['doc_id']}: {row['became']} by {row['step']}: {row['reason']} {row['detail']}"
    for row in document["sequences"]:
        yield f"  tokens    {row['tokens']:,} in {row['sequences']:,} sequences of {row['file']}"
    for name, rows in document["examples"].items():
        if rows:
            yield f"  {name:9} {rows} items"
    for row in document["synthetic"][:_MOST]:
        yield f"  written   {row['doc_id']} from it"
    for name, title in (("copies", "same text"), ("relatives", "much alike")):
        for source in document[name][:_MOST]:
            yield f"  {title}  {source}"
    for row in document["shared_runs"][:_MOST]:
        yield f"  shares    {row['words']} words in a row with {row['doc_id']}, across the split"
    for row in document["artefacts"]:
        rows = f" ({row['rows']})" if "rows" in row else ""
        yield f"  borne by  {row['where']}: {row['what']}{rows}"


def tell_forgotten(found: dict[str, Any], what: str) -> str:
    """Return the lines about what was marked, what still bears it, and what to do next."""
    lines = [f"forgotten from the next build on: {len(found['documents'])} documents"]
    for document in found["documents"]:
        lines.append("")
        lines += _tell_document({**document, "forgotten": False})
        if any(row.get("part") == "held_out" for row in document["curated"]):
            lines.append(
                "  it is held out: figures of evaluation change, and are of other documents than before"
            )
    if found["relatives"]:
        lines += ["", "these hold much of its text and stay:"]
        lines += [f"  {source}" for source in found["relatives"][:_MOST]]
        lines.append(f"-> to forget them too: tinsmith forget {what} --with-copies")
    lines += [
        "",
        "Until `tinsmith build` has run to its end, everything named above still bears it. The build reads,",
        "cuts and trains anew without it: weights are not unlearnt, but made again. Copies of the bundle",
        "elsewhere, and the document's own file, are yours to remove.",
    ]
    return "\n".join(lines)
