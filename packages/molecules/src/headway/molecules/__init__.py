"""Generators and property prediction; the models come in a later version."""
