"""Read mail: subject and body as text, some other headers as metadata."""

from __future__ import annotations

import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from email.message import Message

from tinsmith.corpus.readers.base import Loss, Meta, Part, Piece, Unreadable, join_blocks, name_set
from tinsmith.corpus.readers.mail_text import decode_header, decode_labelled, decode_page, unflow
from tinsmith.corpus.readers.markup import read_html

# The line above each message of a mailbox: sender, time and year, and below it a header.
_SEPARATOR = re.compile(
    rb"^From (?=[^\r\n]*\d:\d\d)(?=[^\r\n]*\b(?:19|20)\d\d\b)[^\r\n]*\r?\n(?=[!-9;-~]+:[ \t\r\n]|>From )",
    re.MULTILINE,
)
_HEADERS_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^Content-Length:[ \t]*(\d+)[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)
_BLANK = re.compile(rb"[\r\n]*")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ALTERNATIVES = ("text/plain", "text/html")
_STUB = 2  # a plain alternative so many times shorter than another one may only refer to it
_KEPT_HEADERS = ("from", "to", "cc", "date")
_FORWARDED_HEADERS = ("from", "date", "subject")
_ENCRYPTED_TYPES = ("application/pkcs7-mime", "application/x-pkcs7-mime")
# Text that mail programs do not show as such.
_NO_BODIES = name_set(
    "text/calendar text/vcard text/x-vcard text/directory text/rtf text/css text/csv text/xml text/rfc822-headers"
)
_SIGNATURES = name_set("application/pkcs7-signature application/x-pkcs7-signature application/pgp-signature")
_PGP = "-----BEGIN PGP MESSAGE-----"


@dataclass
class _Body:
    """The text of a part of a message, the names of its attachments, and what is not read."""

    blocks: list[str] = field(default_factory=list)
    attachments: list[str] = field(default_factory=list)
    lost: list[Loss] = field(default_factory=list)

    def add(self, other: _Body) -> None:
        self.blocks += other.blocks
        self.attachments += other.attachments
        self.lost += other.lost


def read_mailbox(data: bytes) -> list[Part]:
    """Return a piece for each message of a mailbox or of a file with one, and what is not read as losses."""
    messages = list(_split(data.removeprefix(_BYTE_ORDER_MARK).lstrip(b"\r\n")))
    if len(messages) == 1:
        return read_mail(messages[0])
    parts: list[Part] = []
    for number, message in enumerate(messages, 1):
        name = f"message {number}"
        try:
            piece, *lost = read_mail(message)
        except Unreadable as refusal:
            parts.append(Loss(name, refusal.reason, refusal.detail))
            continue
        parts.append(piece if isinstance(piece, Piece) and piece.text.strip() else Loss(name, "empty"))
        parts += [replace(loss, part=f"{name}: {loss.part}") for loss in lost if isinstance(loss, Loss)]
    return parts


def _split(data: bytes) -> Iterator[bytes]:
    """Yield the messages of a mailbox; data that does not begin with a separator is one message."""
    if not data.startswith(b"From "):
        yield data
        return
    start = data.find(b"\n") + 1
    while start:
        found = _SEPARATOR.search(data, _end_by_length(data, start))
        message = data[start : found.start() if found else len(data)]
        head = _HEADERS_END.search(message)
        body = head.end() if head else len(message)
        yield message[:body] + _QUOTED_FROM.sub(rb"\1", message[body:])
        start = found.end() if found else 0


def _end_by_length(data: bytes, start: int) -> int:
    """Return the end of a message by its header Content-Length if a separator or nothing follows, else the start."""
    head = _HEADERS_END.search(data, start)
    length = _LENGTH.search(data, start, head.end()) if head else None
    if not head or not length:
        return start
    end = head.end() + int(length[1])
    after = _BLANK.match(data, end) if end <= len(data) else None
    return end if after and (after.end() == len(data) or _SEPARATOR.match(data, after.end())) else start


def read_mail(data: bytes) -> list[Part]:
    """Return subject and body of a message, and its attachments as losses. Raises Unreadable if it is encrypted."""
    message = message_from_bytes(data, policy=email.policy.default)
    if kind := _encryption(message):
        raise Unreadable("encrypted", kind)
    body = _read(message)
    text = join_blocks(body.blocks)
    if text.startswith(_PGP):
        raise Unreadable("encrypted", "PGP message")
    meta: Meta = {name: value for name in _KEPT_HEADERS if (value := _header(message, name))}
    if body.attachments:
        meta["attachments"] = body.attachments
    return [compose(_header(message, "subject"), text, meta), *body.lost]


def compose(subject: str, body: str, meta: Meta) -> Piece:
    """Return a message as a document: its subject line above its body."""
    return Piece(join_blocks((f"Subject: {subject}" if subject else "", body)), meta)


def _header(message: Message, name: str) -> str:
    """Return a header, decoded from its original form: the parser's own decoding fails on broken ones."""
    values = (str(value) for key, value in message.raw_items() if key.lower() == name)  # type: ignore[attr-defined]
    return decode_header(next(values, ""))


def _encryption(part: Message) -> str:
    """Return the type of an encrypted part; the empty string for one that is not."""
    kind = part.get_content_type()
    secret = kind in _ENCRYPTED_TYPES and part.get_param("smime-type") != "signed-data"
    return kind if kind == "multipart/encrypted" or secret else ""


def _read(part: Message) -> _Body:
    kind = part.get_content_type()
    if _encryption(part):
        return _attachment(part, "encrypted")
    if kind in ("message/rfc822", "message/global"):
        return _forwarded(part)
    if kind == "multipart/alternative":
        return _best_alternative(part)
    if kind.startswith("multipart/"):
        body = _Body(
            [] if part.is_multipart() else [str(part.get_payload())]
        )  # without a boundary it is one part
        for child in _children(part):
            body.add(_read(child))
        return body
    attached = part.get_content_disposition() == "attachment"
    if attached or not kind.startswith("text/") or kind in _NO_BODIES:
        return _attachment(part, "image" if kind.startswith("image/") else "not_read")
    try:
        return _text(part, is_page=kind == "text/html")
    except Unreadable as refusal:
        return _attachment(part, refusal.reason)


def _attachment(part: Message, reason: str) -> _Body:
    kind = part.get_content_type()
    name = decode_header(part.get_filename() or "") or kind
    signature = kind in _SIGNATURES
    return _Body([], [name], [] if signature else [Loss(name, reason, kind if name != kind else "")])


def _forwarded(part: Message) -> _Body:
    """Read a message within a message, below the headers that mail programs show."""
    body = _Body()
    for message in _children(part):
        headers = ((name, _header(message, name)) for name in _FORWARDED_HEADERS)
        body.blocks.append("\n".join(f"{name.capitalize()}: {value}" for name, value in headers if value))
        body.add(_read(message))
    return body


def _best_alternative(part: Message) -> _Body:
    """Return the first alternative with text, plain text first, unless the next has much more of it.

    Pictures and files of every alternative are attachments.
    """
    best, size = _Body(), 0
    attached = _Body()
    for child in sorted(_children(part), key=lambda child: child.get_content_type() != "text/plain"):
        kind = child.get_content_type()
        if kind.startswith("text/") and kind not in _ALTERNATIVES and size:
            continue
        body = _read(child)
        attached.attachments += body.attachments
        attached.lost += [loss for loss in body.lost if loss.part in body.attachments]
        letters = sum(len(block.strip()) for block in body.blocks)
        if letters > _STUB * size:
            best, size = body, letters
    attached.blocks = best.blocks
    attached.lost += [loss for loss in best.lost if loss.part not in best.attachments]
    return attached


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _text(part: Message, *, is_page: bool) -> _Body:
    data = part.get_payload(decode=True)
    charset = part.get_content_charset() or ""
    if not isinstance(data, bytes):
        return _Body([str(data or "")])
    if is_page:
        page, lost = read_html(decode_page(data, charset))
        return _Body([page.text], [], lost)
    text = decode_labelled(data, charset or "utf-8")
    if str(part.get_param("format") or "").lower() == "flowed":
        text = unflow(text, delete_space=str(part.get_param("delsp") or "").lower() == "yes")
    return _Body([text.replace("\r\n", "\n")])
