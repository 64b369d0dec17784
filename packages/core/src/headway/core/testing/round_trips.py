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
    with torch.random.fork_rng(devices=[]):  # as if nothing had been built
        model = from_pretrained(source, **overrides)
        written = save_published(model, folder, like=source, **overrides)
    before, after = open_checkpoint(source), open_checkpoint(written)
    assert before.state.keys() == after.state.keys()
    other = [name for name in before.state if not _same(before.state[name], after.state[name])]
    assert sorted(other) == sorted(summed)
    assert _says(after.config or {}, before.config or {})
    return written


def _says(config: Any, before: Any) -> bool:
    """Whether a configuration says all that another one did; it may say more."""
    if not isinstance(before, dict):
        return config == before
    return isinstance(config, dict) and all(
        key in config and _says(config[key], value) for key, value in before.items()
    )


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)
