"""Foundations: atomic files, errors, progress, named assets, worker processes."""
