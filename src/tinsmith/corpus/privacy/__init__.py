"""Personal data and credentials: found by rules and, where a recipe names one, by a recogniser; replaced by placeholders."""

from tinsmith.corpus.privacy.find import find
from tinsmith.corpus.privacy.measured import measured
from tinsmith.corpus.privacy.protect import REASONS, Protected, Protector
from tinsmith.corpus.privacy.types import TYPES, Span, TypeInfo

__all__ = ["REASONS", "TYPES", "Protected", "Protector", "Span", "TypeInfo", "find", "measured"]
