"""Mixers that score some pairs alone: neighbours, windows, sampled queries, learned positions."""
