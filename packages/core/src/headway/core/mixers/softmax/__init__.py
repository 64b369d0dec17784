"""Mixers whose weights are a softmax of scores of all pairs of tokens, or of each token and a summary."""
