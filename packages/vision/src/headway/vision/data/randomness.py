"""Random numbers that are a function of their key, for whole batches at once."""

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)


def keys(seed: int, epoch: int, indices: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Returns one key per item; equal for equal (seed, epoch, index), whatever batch it is in."""
    with np.errstate(over="ignore"):
        start = _mix(np.uint64(seed % 2**64) + _STEP)
        start = _mix(start + np.uint64(epoch + 1) * _STEP)
        return _mix(start + (np.asarray(indices).astype(np.uint64) + np.uint64(1)) * _STEP)


def uniform(key: NDArray[np.uint64], draws: int, salt: int) -> NDArray[np.float64]:
    """Returns numbers in [0, 1).

    Args:
        key: One key per item.
        draws: Numbers for each item.
        salt: Keeps the numbers of different uses apart.

    Shape:
        key: (B,). Output: (B, draws).
    """
    with np.errstate(over="ignore"):
        counter = np.arange(1, draws + 1, dtype=np.uint64) + np.uint64(salt << 16)
        bits = _mix(key[:, None] + counter[None] * _STEP)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integers(values: NDArray[np.float64], low: int, high: int) -> NDArray[np.int64]:
    """Turns numbers of [0, 1) into integers of low..high, both included."""
    return (low + np.floor(values * (high - low + 1))).astype(np.int64)


def _mix(z: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    # SplitMix64 (Steele et al. 2014): a bijection whose output passes the usual tests of randomness.
    z = np.asarray(z, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
