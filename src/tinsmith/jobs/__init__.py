"""Jobs: what a model is asked and answers. One prompt for training, exam, parity gate, server, `run` and page."""
