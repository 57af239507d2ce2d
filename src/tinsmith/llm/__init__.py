"""Ask language models over HTTP: three providers, a cache and a budget."""
