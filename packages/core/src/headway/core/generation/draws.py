"""One random stream for each row: what a sequence draws depends on its seed and on its own places alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

_STEP, _OTHER = (
    -0x61C8864680B583EB,
    0x5851F42D4C957F2D,
)  # odd, of the golden ratio and of Knuth's generator
_FIRST, _SECOND = (
    -0x40A7B892E31B1A47,
    -0x6B2FB644ECCEEE15,
)  # multipliers of SplitMix64, as signed numbers


def row_keys(
    count: int,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Returns what tells the streams of ``count`` rows apart, (count,) int64.

    Args:
        count: Rows.
        generator: One number is drawn of it for all rows, or of each of as many generators for its own row.
        device: Where the result shall be.
    """
    if isinstance(generator, Sequence):
        return torch.stack([_number(one) for one in generator]).to(device)
    return _mixed(_number(generator) + _OTHER * torch.arange(1, count + 1)).to(device)


def uniform(keys: Tensor, places: Tensor) -> Tensor:
    """Returns the number of each stream at a place, 0 <= number < 1 in float64.

    A counter in the place of a state: nothing is kept for a row, millions of rows do not meet, and the
    numbers are the same on every device.

    Args:
        keys: Of the rows.
        places: Which number of the stream is wanted, from 0.

    Shape:
        keys, places: broadcastable, int64.

    Source:
        Steele et al. 2014, https://doi.org/10.1145/2660193.2660195 (SplitMix64).
    """
    return (_shifted(_mixed(keys + (places + 1) * _STEP), 11)).double() * 2.0**-53


def _number(generator: torch.Generator | None) -> Tensor:
    device = "cpu" if generator is None else generator.device
    return torch.randint(-(2**62), 2**62, (), generator=generator, device=device).cpu()


def _mixed(numbers: Tensor) -> Tensor:
    numbers = (numbers ^ _shifted(numbers, 30)) * _FIRST
    numbers = (numbers ^ _shifted(numbers, 27)) * _SECOND
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, bits: int) -> Tensor:
    """Shifts to the right and fills with zeros, which ``>>`` of signed numbers does not."""
    return (numbers >> bits) & ((1 << (64 - bits)) - 1)
