"""Turn files into training text: read, filter, deduplicate, compare, synthesise. Nothing here uses the network."""
