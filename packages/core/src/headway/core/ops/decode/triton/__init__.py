"""Triton kernels of decoding: parts of the keys side by side, merged in a fixed order."""
