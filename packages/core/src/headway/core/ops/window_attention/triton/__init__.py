"""Window attention in Triton: kernels and launches.

Importing this package is free; its modules need triton.
"""
