"""Mixers whose weights are the same at each position, near it."""
