"""Attention by C++ kernels on the CPU."""
