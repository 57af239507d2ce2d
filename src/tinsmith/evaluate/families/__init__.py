"""Families of measurements, one module each."""
