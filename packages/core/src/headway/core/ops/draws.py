"""Which elements dropout keeps, in plain PyTorch: the semantics of every kernel that draws."""

import math

from torch import Tensor


def kept_positions(numbers: Tensor, seed: int | Tensor, rate: float) -> Tensor:
    """Which elements stay, by their number among all of them: a function of these numbers alone."""
    draws = _mixed(_mixed(numbers & 0xFFFFFFFF) ^ (numbers >> 32) ^ (seed & 0xFFFFFFFF))
    return draws > threshold(rate)


def threshold(rate: float) -> int:
    """The largest of 2^32 draws that drops an element; -1 if none does."""
    return math.ceil(rate * 2.0**32) - 1


def _mixed(numbers: Tensor) -> Tensor:
    """A 32-bit integer hash with low bias, in int64 so that no product overflows unseen.

    Source:
        Multipliers and shifts: Wellons 2018, https://nullprogram.com/blog/2018/07/31/.
    """
    numbers = ((numbers ^ (numbers >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    numbers = ((numbers ^ (numbers >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return numbers ^ (numbers >> 16)
