"""Published weights that the molecules domain reads."""
