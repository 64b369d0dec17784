"""Decision and behaviour transformers; models come later."""
