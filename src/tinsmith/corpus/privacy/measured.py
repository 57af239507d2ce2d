"""How much of personal data and credentials is found: figures of a benchmark, for the rules that it measured.

`python -m benchmarks privacy --keep` writes `measured.json` beside this file. Figures of other rules are not shown.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from tinsmith.corpus.privacy.find import rules_hash

FILE = "measured.json"


def measured(recogniser: str) -> dict[str, Any] | None:
    """Return `types` ({type: {recall, precision, true}}), `recogniser` and `text`, or None where it was not measured.

    `recogniser` is that of the recipe, empty for rules alone.
    """
    facts = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    if facts["rules"] != rules_hash():
        return None
    found: dict[str, Any] | None = facts["recognisers"].get(recogniser)
    return found and {"recogniser": recogniser, "text": facts["text"], **found}
