"""What a model is worth beside others: bits per byte, exam, controls, intervals, and the parity gate."""
