"""Mixers whose weights are products, of features or by way of landmarks: linear in the number of tokens."""
