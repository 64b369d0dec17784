"""Published weights that the speech domain reads."""
