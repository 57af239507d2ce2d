"""The exceptions that a person can act on.

TinsmithError            any of them; the message names place, cause and next step
├── RecipeError          the recipe: unknown field, value out of range, missing path
├── AssetError           a named model or corpus: unknown, not fetched, wrong hash, unsafe format
├── CorpusError          the documents: none found, all dropped, held-out split too small
├── TrainingError        training: no tokens, loss not finite, damaged checkpoint
├── ParityError          an export differs from what was trained
├── EvidenceError        the finished model: a figure outside the bounds of the recipe
├── LLMError         a language model behind an endpoint: no key, not paid, no usable answer
├── RunError             the run directory: locked by another build, disk full, damaged stage
└── BundleError          a bundle: a file is missing or its hash differs
"""


class TinsmithError(Exception):
    """An error that a person can act on: where it is, what is wrong, what to do next."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what, self.where, self.next_step = what, where, next_step
        message = f"{where}: {what}" if where else what
        super().__init__(f"{message}\n  -> {next_step}" if next_step else message)


class RecipeError(TinsmithError):
    """The recipe is invalid."""


class AssetError(TinsmithError):
    """A named model or corpus is not available or not trustworthy."""


class CorpusError(TinsmithError):
    """The documents are insufficient."""


class TrainingError(TinsmithError):
    """Training cannot start or continue."""


class ParityError(TinsmithError):
    """An exported model differs from the trained one."""


class EvidenceError(TinsmithError):
    """The finished model does not meet the bounds of the recipe."""


class LLMError(TinsmithError):
    """A language model gives no usable answer."""


class RunError(TinsmithError):
    """The run directory cannot be used."""


class BundleError(TinsmithError):
    """A bundle is incomplete or modified."""
