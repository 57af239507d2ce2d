"""What can go wrong by a person's hand, as one family of exceptions.

TinsmithError            every mistake that a person can mend; the message names place, cause and next step
├── RecipeError          the recipe: unknown field, value out of range, missing path
├── AssetError           a named model or corpus: not known, not fetched, wrong hash, refused format
├── CorpusError          the documents: none found, all dropped, held-out part too small
├── TrainingError        training: no tokens, loss not finite, damaged checkpoint
├── ParityError          an export differs from what was trained
├── EvidenceError        the finished model: a figure beyond the bounds of the recipe
├── LLMError         the model that is asked: no key, nothing paid, no answer, nothing usable
├── RunError             the run directory: locked by another build, disk full, damaged stage
└── BundleError          a bundle: a file is missing or its hash differs
"""


class TinsmithError(Exception):
    """A mistake that a person can mend: where it is, what is wrong, what to do next."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what, self.where, self.next_step = what, where, next_step
        message = f"{where}: {what}" if where else what
        super().__init__(f"{message}\n  -> {next_step}" if next_step else message)


class RecipeError(TinsmithError):
    """The recipe asks for something that cannot be."""


class AssetError(TinsmithError):
    """A named model or corpus cannot be had or trusted."""


class CorpusError(TinsmithError):
    """The documents do not suffice."""


class TrainingError(TinsmithError):
    """Training cannot start or go on."""


class ParityError(TinsmithError):
    """An exported model differs from the trained one."""


class EvidenceError(TinsmithError):
    """The finished model does not meet what the recipe demands of it."""


class LLMError(TinsmithError):
    """The model that is asked in words does not help."""


class RunError(TinsmithError):
    """The run directory cannot be used."""


class BundleError(TinsmithError):
    """A bundle is incomplete or was changed."""
