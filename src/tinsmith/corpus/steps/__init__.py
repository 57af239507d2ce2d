"""Steps of the stage refine: what learns from or compares across training documents."""
