"""Mixers that work on frequencies."""
