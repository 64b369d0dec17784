"""Verbs of the rl domain."""
