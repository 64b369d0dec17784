"""Triton kernels of scans: states in registers, chunks of time one after the other."""
