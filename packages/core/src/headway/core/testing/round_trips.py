"""A published checkpoint, read and written back."""

from pathlib import Path
from typing import Any

import torch

from headway.core.weights import from_pretrained, open_checkpoint, save_published


def check_round_trip(
    source: str | Path, folder: Path, *, summed: tuple[str, ...] = (), **overrides: Any
) -> Path:
    """Reads a published checkpoint, writes it back, and compares every tensor bit for bit.

    Args:
        source: A folder or file of another library.
        folder: Empty; where it is written.
        summed: Published names of tensors that ours are a sum of: what is written answers the same, in other
            summands, and returns from a second reading bit for bit.
        **overrides: As for ``from_pretrained``.

    Returns:
        The written folder.
    """
    written = save_published(from_pretrained(source, **overrides), folder, like=source, **overrides)
    before, after = open_checkpoint(source), open_checkpoint(written)
    assert before.state.keys() == after.state.keys()
    other = [name for name in before.state if not _same(before.state[name], after.state[name])]
    assert sorted(other) == sorted(summed)
    # What a file says besides its tensors stays as it is.
    assert (after.config or {}) == (before.config or {})
    return written


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
