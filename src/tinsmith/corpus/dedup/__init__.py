"""Exact and near duplicates.

MinHash signatures propose pairs, components of them are found on the engine, and the true Jaccard index of word
5-grams decides.
"""
