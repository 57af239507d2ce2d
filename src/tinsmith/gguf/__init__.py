"""GGUF files: header, metadata, vocabulary, tensor types, and the architectures that llama.cpp knows."""
