"""Fresh and given models of known families, made smaller, adapted, and handed over as safetensors and GGUF."""
