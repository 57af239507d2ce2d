"""Poor documents made from good ones or from nothing, seeded: what a quality score should find."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

_LOOKS_LIKE = {
    "e": "c",
    "l": "1",
    "o": "0",
    "i": "l",
    "m": "rn",
    "h": "b",
    "s": "5",
    "t": "f",
    "a": "@",
    "n": "ii",
}
_MENU = [
    "Home",
    "About us",
    "Contact",
    "Log in",
    "Sign up",
    "Products",
    "Services",
    "News",
    "Careers",
    "Search",
    "Site map",
    "Help",
    "Support",
    "My account",
    "Cart",
    "Checkout",
    "Downloads",
    "Press",
    "Investors",
    "Partners",
    "Events",
    "Blog",
    "Archive",
    "Next page",
    "Previous page",
    "Back to top",
    "Share on Facebook",
    "Tweet this",
    "Subscribe",
    "RSS",
    "Privacy",
    "Terms",
    "Cookies",
    "Accessibility",
    "Mobile app",
    "Store finder",
]
_NOTICES = (
    "This site uses cookies. By continuing to browse you accept our use of cookies.",
    "Click here to subscribe to our newsletter and never miss an offer!",
    "Copyright 2019. All rights reserved. Terms of use. Privacy policy.",
    "Please enable JavaScript in your browser to view this page.",
    "Sign in to leave a comment. Forgot your password? Register now.",
    "Share this article on Facebook, Twitter or by e-mail. Print this page.",
    "You are here: Home > Products > Details. Back to the previous page.",
    "Free delivery on orders over $50! Buy now, while stocks last!",
    "Follow us for the latest news. Download our app today.",
    "The page you requested could not be found. Return to the home page.",
)


def garbled(text: str, chance: random.Random) -> str:
    """Read a text as a bad scanner would: letters mistaken, words torn and run together."""
    out = []
    for letter in text:
        draw = chance.random()
        if draw < 0.08:
            out.append(_LOOKS_LIKE.get(letter.lower(), letter))
        elif draw < 0.11 and letter.isalpha():
            out.append(letter + " ")
        elif not (draw < 0.14 and letter == " "):
            out.append(letter)
    return "".join(out)


def shuffled(text: str, chance: random.Random) -> str:
    """Put a text's words in any order, line breaks where they were."""
    words = text.split(" ")
    chance.shuffle(words)
    return " ".join(words)


def menus(text: str, chance: random.Random) -> str:
    """Make a list of links as long as the text."""
    count = max(10, len(text) // 12)
    return "\n".join(f"{chance.choice(['', '* ', '- ', '> '])}{chance.choice(_MENU)}" for _ in range(count))


def notices(text: str, chance: random.Random) -> str:
    """Make a page of notices as long as the text."""
    return "\n".join(chance.choice(_NOTICES) for _ in range(max(5, len(text) // 65)))


def figures(text: str, chance: random.Random) -> str:
    """Make a table of numbers as long as the text."""
    rows = max(5, len(text) // 60)
    names = [word for word in text.split() if word.isalpha()] or ["Total"]
    return "\n".join(
        f"{chance.choice(names)}    " + "    ".join(f"{chance.uniform(0, 9999):,.1f}" for _ in range(5))
        for _ in range(rows)
    )


def stuffed(text: str, chance: random.Random) -> str:
    """Repeat the text's longest words as a page does that wants to be found."""
    words = sorted({word.strip(".,;") for word in text.split()}, key=lambda word: (-len(word), word))[
        :40
    ] or ["x"]
    return ", ".join(" ".join(chance.choices(words, k=3)) for _ in range(max(5, len(text) // 35)))


def logs(text: str, chance: random.Random) -> str:
    """Make lines of a machine's log as long as the text."""
    rows = max(5, len(text) // 80)
    return "\n".join(
        f"2024-03-{chance.randrange(1, 29):02d} {chance.randrange(24):02d}:{chance.randrange(60):02d}:00 "
        f"[{chance.choice(['INFO', 'WARN', 'DEBUG'])}] worker-{chance.randrange(16)} "
        f"{''.join(chance.choices(string.hexdigits.lower(), k=16))} status={chance.choice([200, 404, 500])}"
        for _ in range(rows)
    )


def torn(text: str, chance: random.Random) -> str:
    """Break one word in five in two, as columns and lost hyphens do."""
    out = []
    for word in text.split(" "):
        if len(word) > 4 and chance.random() < 0.2:
            place = chance.randrange(2, len(word) - 1)
            word = f"{word[:place]} {word[place:]}"
        out.append(word)
    return " ".join(out)


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "garbled": garbled,
    "shuffled": shuffled,
    "menus": menus,
    "notices": notices,
    "figures": figures,
}
# Never seen while the ready score's weights were fitted.
UNSEEN: dict[str, Callable[[str, random.Random], str]] = {"stuffed": stuffed, "logs": logs, "torn": torn}
