"""Text repair, hidden characters, words and their hashes, language identification."""
