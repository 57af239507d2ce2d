"""A bundle's model behind the OpenAI API on loopback, and a page to try it."""
