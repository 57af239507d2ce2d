"""Which documents the text of a question comes from, and whether it may be sent to another machine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinsmith.corpus.rights import may_leave
from tinsmith.evaluate.own_questions import OpenItem
from tinsmith.evidence.items import Item, ItemKind

Question = Item | OpenItem
_UNKNOWN = "an unknown document"  # where a choice comes from that stands in no document that may leave


@dataclass(frozen=True)
class Origins:
    """The documents that questions come from: access labels and held-out texts by id.

    `permitted` are the ids of documents that may leave, and the names of a person's own questions that may. `answers`
    are the choices of each task that may leave.
    """

    labels: Mapping[str, str]
    texts: Mapping[str, str]
    permitted: Collection[str]
    answers: Mapping[str, Collection[str]]

    def of(self, item: Question) -> tuple[str, ...]:
        """Return the ids of all documents whose text stands in a question.

        A false choice comes from the question's own document, or from another that may leave. Any other origin is
        unknown, so that the question stays here.
        """
        if isinstance(item, OpenItem) or item.kind is ItemKind.OWN:
            return (item.item,)
        found = [item.doc_id]
        for choice in item.choices:
            if item.kind is ItemKind.TASK:
                found += [] if choice in self.answers.get(item.task, ()) else [_UNKNOWN]
            elif choice not in self.texts.get(item.doc_id, ""):
                holders = (
                    name for name, text in self.texts.items() if name in self.permitted and choice in text
                )
                found.append(next(holders, _UNKNOWN))
        return tuple(dict.fromkeys(found))

    def may_leave(self, item: Question) -> bool:
        """Return whether all documents of a question may leave."""
        return all(name in self.permitted for name in self.of(item))

    def label(self, item: Question) -> str:
        """Return the access label of a question's document, or of a person's own question."""
        return item.access or self.labels.get(item.doc_id, "")


def find_origins(
    allowed: tuple[str, ...],
    labels: Mapping[str, str],
    texts: Mapping[str, str],
    *,
    own: Iterable[Question],
    answers: Iterable[Item],
    choices: Mapping[str, Sequence[str]],
) -> Origins:
    """Return the origins of questions on `texts`, where documents with a label that matches `allowed` may leave.

    The choices of a task may leave that the recipe lists (`choices`) or that are among the `answers` about documents
    that may. A person's own question may by its own label, and by that of a document of the corpus that it names.
    """
    permitted = dict.fromkeys(name for name, label in labels.items() if may_leave(label, allowed))
    known = {task: set(listed) for task, listed in choices.items()}
    for item in answers:
        if item.doc_id in permitted:
            known.setdefault(item.task, set()).add(item.answer)
    for question in own:
        named = question.doc_id not in labels or question.doc_id in permitted
        if named and may_leave(question.access, allowed):
            permitted[question.item] = None
    return Origins(labels, texts, permitted.keys(), known)
