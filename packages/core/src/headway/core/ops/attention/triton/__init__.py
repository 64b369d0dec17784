"""Fused attention in Triton: kernels, tile sizes and launches.

Importing this package is free; its modules, except `tiles`, need triton.
"""

import os


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter; triton reads this when it decorates them."""
    return os.environ.get("TRITON_INTERPRET") == "1"
