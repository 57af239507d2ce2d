"""Read mail: subject and body as text, some other headers as metadata."""

from __future__ import annotations

import email.policy
from email import message_from_bytes
from email.message import Message
from typing import Any

from tinsmith.corpus.readers.base import Meta, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.markup import read_html
from tinsmith.corpus.readers.plain import decode

_KEPT_HEADERS = ("from", "to", "cc", "date")
_ENCRYPTED_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_PGP = "-----BEGIN PGP MESSAGE-----"


def read_mail(data: bytes) -> Piece:
    """Return subject and body of a message. Raises Unreadable if the body is encrypted."""
    message = message_from_bytes(data, policy=email.policy.default)
    attachments: list[str] = []
    body = join_blocks(_bodies(message, attachments))
    if body.startswith(_PGP):
        raise Unreadable("encrypted", "PGP message")
    meta: Meta = {name: value for name in _KEPT_HEADERS if (value := _header(message, name))}
    if attachments:
        meta["attachments"] = attachments
    return compose(_header(message, "subject"), body, meta)


def compose(subject: str, body: str, meta: Meta) -> Piece:
    """Return a message as a document: its subject line above its body."""
    return Piece(join_blocks((f"Subject: {subject}" if subject else "", body)), meta)


def _header(message: Message, name: str) -> str:
    # The parser keeps broken headers, some of which raise only on access.
    try:
        value: Any = message[name]
    except (ValueError, IndexError, AttributeError, TypeError, LookupError):
        value = next((text for key, text in message.raw_items() if key.lower() == name), "")  # type: ignore[attr-defined]
    return " ".join(str(value or "").split())


def _bodies(part: Message, attachments: list[str]) -> list[str]:
    kind = part.get_content_type()
    signed = part.get_param("smime-type") == "signed-data"
    if kind == "multipart/encrypted" or (kind in _ENCRYPTED_TYPES and not signed):
        raise Unreadable("encrypted", kind)
    if kind == "multipart/alternative":
        return _best_alternative(part, attachments)
    if part.is_multipart():
        inner = [body for child in _children(part) for body in _bodies(child, attachments)]
        return [_header(part, "subject"), *inner] if kind == "message/rfc822" else inner
    if part.get_content_disposition() == "attachment" or not kind.startswith("text/"):
        attachments.append(part.get_filename() or kind)
        return []
    text = _text(part)
    return [read_html(text).text if kind == "text/html" else text]


def _best_alternative(part: Message, attachments: list[str]) -> list[str]:
    """Return the plain alternative if it has text, else the next one that has."""
    for child in sorted(_children(part), key=lambda child: child.get_content_type() != "text/plain"):
        if bodies := [body for body in _bodies(child, attachments) if body.strip()]:
            return bodies
    return []


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _text(part: Message) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return str(data or "")
    try:
        return data.decode(part.get_content_charset() or "utf-8")
    except (LookupError, UnicodeDecodeError):
        return decode(data)
