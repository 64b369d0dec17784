"""Quantiles corrected by what a model missed lately: conformal prediction that moves with the origin."""

import numpy as np
from numpy.typing import NDArray

# Errors of a series and step from which each has quantiles of its own, 0.1 and 0.9 lying well inside.
OWN = 19


class Recalibration:
    """What the forecasts of the last origins missed, by series, step ahead and level.

    A quantile moves by the quantile, of its own level, of the errors that are known at the origin: those of
    the calibration stretches first, and then more and more of those that were forecast since, always as
    many. So it follows what changes with time. A point stands for all levels. With few origins the errors
    of all series count together, in units of their sizes.

    Args:
        kept: Origins whose errors count.
        levels: Of the quantiles.

    Source:
        Romano, Patterson and Candès 2019, https://arxiv.org/abs/1905.03222, with the two ends apart as in
        its section 3; the moving window as in Xu and Xie 2021, https://arxiv.org/abs/2010.09107.
    """

    def __init__(self, kept: int, levels: tuple[float, ...]) -> None:
        self.kept, self.levels = kept, levels
        self.ends: list[NDArray[np.int64]] = []
        self.errors: list[NDArray[np.float32]] = []
        self._known = 0
        self._state, self._offsets = (-1, -1), np.zeros(0)

    def add(self, end: NDArray[np.int64], error: NDArray[np.float64]) -> None:
        """Remembers the errors of a later origin.

        Args:
            end: Steps of each series from which on they are known.
            error: What came minus what was said, in units of the sizes; NaN where unknown.

        Shape:
            end: (S,). error: (S, H, Q), Q being 1 for points.
        """
        self.ends.append(end)
        self.errors.append(error.astype(np.float32))

    def state(self, known: NDArray[np.int64]) -> tuple[int, int]:
        """Returns which errors count at an origin: the first, and the one behind the last.

        Args:
            known: Steps of each series that are known there; no fewer than at the origin asked before.

        Shape:
            known: (S,).
        """
        while self._known < len(self.ends) and (self.ends[self._known] <= known).all():
            self._known += 1
        return max(0, self._known - self.kept), self._known

    def offsets(self, state: tuple[int, int]) -> NDArray[np.float64]:
        """Returns how far each quantile moves, (S, H, levels), in units of the sizes; NaN without errors."""
        if state != self._state:
            errors = np.stack(self.errors[slice(*state)])
            together = errors.reshape(-1, 1, *errors.shape[2:])
            found = np.repeat(_quantiles(together, self.levels), errors.shape[1], axis=0)
            if len(errors) >= OWN:
                # Some series may know fewer, where values are missing.
                able = (~np.isnan(errors)).sum(axis=0).min(axis=-1, keepdims=True) >= OWN
                found = np.where(able, _quantiles(errors, self.levels), found)
            self._state, self._offsets = state, found
        return self._offsets


def _quantiles(errors: NDArray[np.float32], levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Returns quantiles over the first axis, each of its own last entry; (S, H, levels).

    The quantile lies at the place (n + 1) level, so that the next error falls below it with that
    probability: n errors and the next one are all in any order.
    """
    ordered = np.sort(errors, axis=0)  # NaN last
    count = (~np.isnan(errors)).sum(axis=0)
    found = []
    for place, level in enumerate(levels):
        part = slice(None) if errors.shape[-1] == 1 else slice(place, place + 1)
        number = count[..., part]
        wanted = np.clip((number + 1) * level - 1, 0, np.maximum(number - 1, 0))
        low = np.floor(wanted).astype(int)
        high = np.minimum(low + 1, np.maximum(number - 1, 0))
        below, above = (
            np.take_along_axis(ordered[..., part], k[None], axis=0)[0] for k in (low, high)
        )
        found.append(below + (wanted - low) * (above - below))
    return np.concatenate(found, axis=-1)
