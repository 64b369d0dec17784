"""Recognition and synthesis; models come later."""
