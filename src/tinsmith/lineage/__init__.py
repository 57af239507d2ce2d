"""Find where a passage came from, trace a document, and forget one."""
