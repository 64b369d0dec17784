"""Decision and behaviour transformers; the models come in a later version."""
