"""Triton kernels for causal linear attention: states between chunks, products within them."""
