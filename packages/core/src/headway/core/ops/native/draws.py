"""The draws of draws.h as an argument of C++ functions."""

import ctypes

from headway.core.ops.draws import threshold


class Draws(ctypes.Structure):
    """Which elements stay, and by what they grow; zeros say that nothing is dropped."""

    _fields_ = (
        ("seed", ctypes.c_uint32),
        ("threshold", ctypes.c_uint32),
        ("gain", ctypes.c_float),
    )


def draws_of(seed: int, rate: float) -> Draws:
    """The draws of a seed."""
    return Draws(seed & 0xFFFFFFFF, threshold(rate), 1.0 / (1.0 - rate)) if rate else Draws()
