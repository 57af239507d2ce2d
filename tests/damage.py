"""Damage sound inputs at random, as a bad disk, a bad tool or a bad person does. Seeded, so that a finding repeats."""

from __future__ import annotations

import io
import random
import re
import signal
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

HANGS_AFTER = 20  # seconds that a single input may take

# What programs stumble over: marks, ends, controls, numbers beyond any type, depth, markup, unfinished characters.
AWKWARD = (
    b"",
    b"\x00",
    b"\xff",
    b"\xc3",
    b"\xef\xbb\xbf",
    b"\r",
    b"\x0c",
    b"\x1e",
    b'"',
    b"'",
    b"\\",
    b"\\ud800",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x99\x82",
    b"-1",
    b"0",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b"99999999999999999999999",
    b"[" * 3000,
    b'{"a":' * 600,
    b"<a>" * 600,
    b"<|im_end|>",
    b"{{ 1 }}",
    b"../../x",
    b"=1+1",
    b"&#0;",
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
)


def damaged(sound: Sequence[bytes], draw: random.Random) -> bytes:
    """Return one of the sound inputs after one to four changes; a ZIP file is changed inside or outside."""
    data = draw.choice(sound)
    if data[:2] == b"PK" and draw.random() < 0.7:
        return _damaged_zip(data, draw)
    for _ in range(draw.randint(1, 4)):
        data = _change(data, sound, draw)
    return data


def _change(data: bytes, sound: Sequence[bytes], draw: random.Random) -> bytes:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 2, 8, 64, 512)))
    kind = draw.randrange(7)
    if kind == 0:  # cut off
        return data[:at]
    if kind == 1:  # a part is missing
        return data[:at] + data[end:]
    if kind == 2:  # a part comes twice
        return data[:end] + data[at:]
    if kind == 3 and data:  # a bit has flipped
        place = min(at, len(data) - 1)
        return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    if kind == 4:  # a part of another one stands in it
        other = draw.choice(sound)
        begin = draw.randrange(len(other) + 1)
        return data[:at] + other[begin : begin + 200] + data[end:]
    if kind == 5:  # a number is another one
        numbers = list(re.finditer(rb"\d+", data))
        if numbers:
            found = draw.choice(numbers)
            return data[: found.start()] + draw.choice(AWKWARD) + data[found.end() :]
    return data[:at] + draw.choice(AWKWARD) + data[at:]


def _damaged_zip(data: bytes, draw: random.Random) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        members = {name: source.read(name) for name in source.namelist()}
        chosen = draw.choice(list(members))
        for name, content in members.items():
            if name == chosen and draw.random() < 0.2:
                continue
            target.writestr(
                name, _change(content, list(members.values()), draw) if name == chosen else content
            )
    return out.getvalue()


def each_damaged(sound: Sequence[bytes], length: int | float, seed: int) -> Iterator[tuple[int, bytes]]:
    """Yield (number, damaged input): `length` of them, or where it is a float for as many seconds."""
    number, until = 0, time.monotonic() + length
    while number < length if isinstance(length, int) else time.monotonic() < until:
        yield number, damaged(sound, random.Random(f"{seed}:{number}"))
        number += 1


def survive(
    sound: Sequence[bytes], length: int | float, attempt: Callable[[bytes], object], *allowed: type[Exception]
) -> None:
    """Try damaged inputs; any exception but the allowed ones fails with the number and the input that raised it."""
    for number, data in each_damaged(sound, length, seed=1):
        try:
            with _no_hang():
                attempt(data)
        except allowed:
            continue
        except BaseException as error:
            error.add_note(f"input {number}: {data[:2000]!r}")
            raise


@contextmanager
def _no_hang() -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"an input took longer than {HANGS_AFTER} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_AFTER)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
