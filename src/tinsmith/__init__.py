"""Tinsmith turns an organisation's own documents into a small language model, and proves what it is worth."""

__version__ = "0.1.0"
