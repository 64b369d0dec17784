"""Deformable attention by C++ kernels on the CPU."""
