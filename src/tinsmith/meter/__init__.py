"""Measure time, energy and memory, convert them to carbon and money, and estimate what a build will take."""
