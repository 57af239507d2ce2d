"""Benchmarks of Tinsmith's training against peers, measured side by side in one run."""
