"""Mixers whose weights are products of features of queries and keys: linear in the number of tokens."""
