"""Generators and property prediction; models come later."""
