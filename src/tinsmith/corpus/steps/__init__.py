"""The steps of refine: each compares training documents with each other, and drops or changes some.

A step is a module or package here with the function `run(config, given) -> StepResult`. Its name is that of its
section in `RefineConfig`, whose fields give the order, and whose `enabled` says whether a recipe asks for it.
"""

# In the metadata of a document that a step wrote: the doc_id of the document that it was written from.
WRITTEN_FROM = "written_from"
# The questions with answers that synthesis wrote, as conversations: the file below the directory of refine.
WRITTEN_CONVERSATIONS = "synthesis/conversations.jsonl"
