"""Work on one text: repair, hidden characters, hyphenation, language, and words and their hashes."""
