"""Decoding: what turns the logits of a model into sequences."""
