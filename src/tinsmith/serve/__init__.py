"""Serve a model: llama.cpp's server, an HTTP API with a page, and a chat in the terminal."""
