"""The Triton kernel that measures queries against a sample of the keys."""
