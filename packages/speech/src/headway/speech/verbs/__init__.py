"""Verbs of the speech domain."""
