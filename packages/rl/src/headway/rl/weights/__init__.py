"""Published weights that the rl domain reads."""
