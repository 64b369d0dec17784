"""Which trajectories a batch is drawn from."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError


class Sampling(ABC):
    """Says how likely each trajectory is drawn."""

    @abstractmethod
    def weights(
        self, totals: NDArray[np.float64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Returns one weight per trajectory, summing to 1.

        Args:
            totals: Return of each.
            lengths: Steps of each.
        """


class UniformSteps(Sampling):
    """A trajectory is as likely as it is long.

    Its full stretches are then equally likely (``DrawnWindows``).

    Source:
        Chen et al. 2021, https://arxiv.org/abs/2106.01345 (their code).
    """

    def weights(
        self, totals: NDArray[np.float64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Returns the shares of the steps."""
        return lengths / lengths.sum()


class BalancedReturns(Sampling):
    """Low and high returns come equally often, however rare one of them is.

    Only the frequency of the returns changes, and a decision transformer is given the return: what it
    learns about actions under a return stays the same.

    Args:
        bins: The range of returns is cut into so many equal parts; each part that has trajectories is
            drawn equally often.
    """

    def __init__(self, *, bins: int = 2) -> None:
        if bins < 2:
            raise UserError(f"bins is {bins}; at least 2 parts can be balanced")
        self.bins = bins

    def weights(
        self, totals: NDArray[np.float64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Returns equal shares for the parts, and within a part equal ones for the steps."""
        low, high = totals.min(), totals.max()
        part = np.minimum((totals - low) / max(high - low, 1e-12) * self.bins, self.bins - 1)
        part = part.astype(np.int64)
        mass = np.bincount(part, weights=lengths, minlength=self.bins)
        weights = lengths / mass[part]
        return weights / weights.sum()
