"""Adapters for the published formats of vision models."""
