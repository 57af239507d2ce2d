"""One program per peer: each runs alone in its own virtual environment and writes one JSON object."""
