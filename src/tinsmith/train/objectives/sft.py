"""Supervised fine-tuning: next-token prediction on conversations, whose token set marks only answers as targets."""

from tinsmith.train.objectives.next_token import create

__all__ = ["create"]
