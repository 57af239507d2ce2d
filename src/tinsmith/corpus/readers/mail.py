"""Read mail: subject and body as text, some other headers as metadata."""

from __future__ import annotations

import contextlib
import email.policy
import re
from email import message_from_bytes
from email.message import Message
from typing import Any

from tinsmith.corpus.readers.base import Loss, Meta, Part, Piece, Unreadable, join_blocks
from tinsmith.corpus.readers.markup import read_html
from tinsmith.corpus.readers.plain import decode

# The line above each message of a mailbox: sender and date.
_SEPARATOR = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\d{4}[^\r\n]*\r?\n")
# What mail programs read under a narrower name.
_SUPERSETS = {"shift_jis": "cp932", "iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8"}
_ALTERNATIVES = ("text/plain", "text/html")
_STUB = 2  # a plain alternative so many times shorter than another one may only refer to it
_KEPT_HEADERS = ("from", "to", "cc", "date")
_ENCRYPTED_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")
_PGP = "-----BEGIN PGP MESSAGE-----"


def read_mailbox(data: bytes) -> list[Part]:
    """Return a piece for each message of a mailbox or of a file with one; those that are encrypted are losses."""
    messages = _SEPARATOR.split(data)[1:] if data.startswith(b"From ") else [data]
    if len(messages) == 1:
        return [read_mail(messages[0])]
    parts: list[Part] = []
    for number, message in enumerate(messages, 1):
        try:
            piece = read_mail(message)
            parts.append(piece if piece.text.strip() else Loss(f"message {number}", "empty"))
        except Unreadable as refusal:
            parts.append(Loss(f"message {number}", refusal.reason, refusal.detail))
    return parts


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
    return [read_html(text)[0].text if kind == "text/html" else text]


def _best_alternative(part: Message, attachments: list[str]) -> list[str]:
    """Return the first alternative with text, plain text first, unless the next has much more of it."""
    best: list[str] = []
    named: list[str] = []
    for child in sorted(_children(part), key=lambda child: child.get_content_type() != "text/plain"):
        kind, attached = child.get_content_type(), list[str]()
        if kind.startswith("text/") and kind not in _ALTERNATIVES and best:
            continue
        bodies = [body for body in _bodies(child, attached) if body.strip()]
        if sum(map(len, bodies)) > _STUB * sum(map(len, best)):
            best, named = bodies, attached
    attachments += named
    return best


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _text(part: Message) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return str(data or "")
    charset = part.get_content_charset() or "utf-8"
    for name in (charset, _SUPERSETS.get(charset, charset)):
        with contextlib.suppress(LookupError, UnicodeDecodeError):
            return data.decode(name)
    return decode(data)
