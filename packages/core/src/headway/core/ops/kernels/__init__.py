"""What the Triton kernels of all ops share: machines, tiles, rows of matrices.

Importing this package is free; of its modules only `rows` needs triton.
"""

import os


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter; triton reads this when it decorates them."""
    return os.environ.get("TRITON_INTERPRET") == "1"
