"""Score tokens with a causal model: a tree of token sequences, and the scorer that reads it."""
