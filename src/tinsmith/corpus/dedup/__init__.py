"""Find exact and near duplicates.

MinHash signatures propose pairs, the engine finds their connected components, and the true Jaccard index of word
5-grams decides.
"""
