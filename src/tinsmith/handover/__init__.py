"""Hand a bundle's model over to other tools: Ollama, the Hugging Face hub, vLLM."""
