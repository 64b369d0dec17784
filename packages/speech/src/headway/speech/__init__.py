"""Recognition and synthesis; the models come in a later version."""
