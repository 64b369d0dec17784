"""Verbs of the molecules domain."""
