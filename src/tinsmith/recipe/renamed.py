"""Renamed recipe keys: the old key is still read, and cache keys keep it, so that no finished stage runs again."""

from __future__ import annotations

from typing import Any

# Old key -> new key, both as section.field.
RENAMED = {
    "evaluate.asked_back": "evaluate.redacted_values",
    "evaluate.ladder": "evaluate.all_formats",
}


def use_new_keys(data: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return recipe data with new keys, and a sentence on each old key. A new key that is also set stays."""
    moved = {old: new for old, new in RENAMED.items() if _has(data, old) and not _has(data, new)}
    return _move(data, moved), [f"{old} is now called {new}" for old, new in moved.items()]


def use_old_keys(data: dict[str, Any]) -> dict[str, Any]:
    """Return recipe data with the keys that were first used."""
    return _move(data, {new: old for old, new in RENAMED.items() if _has(data, new)})


def _has(data: dict[str, Any], key: str) -> bool:
    section, field = key.split(".")
    return isinstance(data.get(section), dict) and field in data[section]


def _move(data: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    names = {tuple(source.split(".")): target.split(".")[1] for source, target in keys.items()}
    return {
        section: {names.get((section, field), field): item for field, item in value.items()}
        if isinstance(value, dict)
        else value
        for section, value in data.items()
    }
