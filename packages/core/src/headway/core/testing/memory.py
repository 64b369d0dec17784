"""Memory in which whatever was never written shows."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def nan_filled_memory() -> Iterator[None]:
    """Within it, uninitialised floating-point tensors hold NaN and integer ones their maximum."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # pyright: ignore
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # pyright: ignore
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # pyright: ignore
