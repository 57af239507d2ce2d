"""Where a passage came from, what became of a document, and how a document is forgotten."""
