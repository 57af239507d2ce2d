"""Models that are asked over HTTP: one protocol, three providers' shapes, a cache and a budget."""
