"""The parity gate: exports must agree with the trained model."""
