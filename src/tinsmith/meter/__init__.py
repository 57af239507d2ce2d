"""Seconds, joules, memory, carbon and money, and what a build will probably take."""
