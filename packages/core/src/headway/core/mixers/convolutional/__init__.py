"""Mixers whose weights are the same at each place, near it."""
