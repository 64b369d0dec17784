"""Python starts as if Triton were not installed; `tools/portable/run.py` puts this folder on the path."""

import sys

# What an import finds here and is None does not exist.
sys.modules["triton"] = None  # pyright: ignore[reportArgumentType]
