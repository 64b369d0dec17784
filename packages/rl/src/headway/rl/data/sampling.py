"""Which trajectories a batch is drawn from."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError


class Sampling(ABC):
    """Says how likely each trajectory is drawn."""

    @abstractmethod
    def weights(
        self, totals: NDArray[np.float64], lengths: NDArray[np.int64], *, epoch: int = 0
    ) -> NDArray[np.float64]:
        """Returns one weight per trajectory, summing to 1.

        Args:
            totals: Return of each.
            lengths: Steps of each.
            epoch: Of the training, from 0.
        """


class UniformSteps(Sampling):
    """A trajectory is as likely as it is long.

    Its full stretches are then equally likely (``DrawnWindows``).

    Source:
        Chen et al. 2021, https://arxiv.org/abs/2106.01345 (their code).
    """

    def weights(
        self, totals: NDArray[np.float64], lengths: NDArray[np.int64], *, epoch: int = 0
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
        self, totals: NDArray[np.float64], lengths: NDArray[np.int64], *, epoch: int = 0
    ) -> NDArray[np.float64]:
        """Returns equal shares for the parts, and within a part equal ones for the steps."""
        low, high = totals.min(), totals.max()
        part = np.minimum((totals - low) / max(high - low, 1e-12) * self.bins, self.bins - 1)
        part = part.astype(np.int64)
        mass = np.bincount(part, weights=lengths, minlength=self.bins)
        weights = lengths / mass[part]
        return weights / weights.sum()


class ShortFirst(Sampling):
    """Short trajectories come first, and longer ones join them: a curriculum.

    What must be remembered for many steps is learned where it must be remembered for few.

    Args:
        limits: Steps of the longest trajectory in each stage; all trajectories are drawn in the last stage.
        epochs: Of each stage but the last, which lasts for the rest of the training.
        sampling: How those that may be drawn are drawn; each by its steps if None.

    Source:
        Bengio et al. 2009, "Curriculum learning"; in Cherepanov et al. 2023, https://arxiv.org/abs/2306.09459,
        corridors grow by whole segments (their code).
    """

    def __init__(
        self, *, limits: Sequence[int], epochs: int = 1, sampling: Sampling | None = None
    ) -> None:
        if not limits or list(limits) != sorted(set(limits)) or limits[0] < 1:
            raise UserError(f"limits is {list(limits)}; they must be steps, and grow")
        if epochs < 1:
            raise UserError(f"epochs is {epochs}; a stage needs at least 1")
        self.limits, self.epochs = tuple(limits), epochs
        self.sampling = sampling if sampling is not None else UniformSteps()

    def weights(
        self, totals: NDArray[np.float64], lengths: NDArray[np.int64], *, epoch: int = 0
    ) -> NDArray[np.float64]:
        """Returns those of ``sampling`` among the trajectories of this stage, and 0 for longer ones.

        Raises:
            UserError: If all trajectories are longer.
        """
        stage = epoch // self.epochs
        if stage >= len(self.limits) - 1:
            return self.sampling.weights(totals, lengths, epoch=epoch)
        limit = self.limits[stage]
        short = lengths <= limit
        if not short.any():
            raise UserError(
                f"limits begin with {limit} steps, and the shortest trajectory has {lengths.min()}; "
                "begin with at least as many"
            )
        weights = np.zeros(len(lengths))
        weights[short] = self.sampling.weights(totals[short], lengths[short], epoch=epoch)
        return weights
