"""The page and the evidence behind it, made from what the stages left."""
