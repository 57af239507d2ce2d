"""From text to token sets: tokenizers, vocabularies, tasks and conversations, packed batches."""
