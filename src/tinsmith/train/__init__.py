"""One training engine: objectives, budgets, optimisers, checkpoints, several processes."""
