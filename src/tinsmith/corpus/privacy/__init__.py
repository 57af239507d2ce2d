"""Find personal data and credentials by rules, or a recogniser too, and replace them by placeholders."""

from tinsmith.corpus.privacy.find import find
from tinsmith.corpus.privacy.measured import measured
from tinsmith.corpus.privacy.protect import REASONS, Protected, Protector
from tinsmith.corpus.privacy.types import TYPES, Span, TypeInfo

__all__ = ["REASONS", "TYPES", "Protected", "Protector", "Span", "TypeInfo", "find", "measured"]
