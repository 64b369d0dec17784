"""Randomness that belongs to a row: what one environment draws does not depend on the others."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Streams:
    """One random stream for each row of a batch.

    Args:
        seeds: One for each row.
        device: Where what is drawn shall be.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str | None = None) -> None:
        # Always on the CPU, so that a seed gives the same numbers on every device.
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self.device = device

    def __len__(self) -> int:
        return len(self.generators)

    @classmethod
    def drawn(cls, seed: int, rows: int, device: torch.device | str | None = None) -> "Streams":
        """Returns streams whose seeds follow from one."""
        return cls(np.random.SeedSequence(seed).generate_state(rows).tolist(), device)

    def restart(self, starts: NDArray[np.bool_], seeds: NDArray[np.int64] | None) -> None:
        """Begins the streams of some rows anew, (rows,), each with its own seed; nothing without seeds."""
        if seeds is None:
            return
        for row in np.flatnonzero(starts):
            self.generators[row] = torch.Generator().manual_seed(int(seeds[row]))

    def select(self, rows: Sequence[int]) -> "Streams":
        """Returns copies of the streams of some rows, which go on as those would."""
        made = Streams([], self.device)
        for row in rows:
            copy = torch.Generator()
            copy.set_state(self.generators[row].get_state())
            made.generators.append(copy)
        return made

    def of(self, rows: Sequence[int]) -> "Streams":
        """Returns the streams of some rows, the same ones: what is drawn of them is drawn of these."""
        made = Streams([], self.device)
        made.generators = [self.generators[row] for row in rows]
        return made

    def uniform(self, *shape: int) -> Tensor:
        """Returns numbers between 0 and 1, (rows, *shape)."""
        return self._stacked(torch.rand, shape)

    def normal(self, *shape: int) -> Tensor:
        """Returns numbers of the standard normal distribution, (rows, *shape)."""
        return self._stacked(torch.randn, shape)

    def _stacked(self, draw: Callable[..., Tensor], shape: tuple[int, ...]) -> Tensor:
        drawn = [draw(shape, generator=one) for one in self.generators]
        return (torch.stack(drawn) if drawn else torch.zeros(0, *shape)).to(self.device)

    def choose(self, probabilities: Tensor) -> Tensor:
        """Returns one index for each row, drawn by its probabilities.

        Shape:
            probabilities: (rows, ..., N). Output: (rows, ...) int64.
        """
        shares = probabilities.double().cumsum(dim=-1)
        drawn = self.uniform(*probabilities.shape[1:-1]).to(shares)[..., None]
        # The last sum may miss 1 by rounding.
        return torch.searchsorted(shares / shares[..., -1:], drawn, right=True)[..., 0].clamp_max(
            probabilities.shape[-1] - 1
        )
