"""Steps that hear a stretch of their input each, computed while the input comes."""

from collections.abc import Callable

import torch
from torch import Tensor

Steps = Callable[[Tensor], Tensor]


class Overlapping:
    """Computes what a function makes of an input that comes piece by piece, as if it came at once.

    The function turns a whole input into steps; step i hears the input from ``stride * i - reach[0]`` to
    ``stride * i + reach[1]`` and, at the ends of it, that there is no more. What steps to come still hear is
    kept, and the first steps of each piece, which hear its beginning, are computed in vain.

    Args:
        function: Of an input (B, N, ...) the steps (B, M, ...).
        stride: Of the input from one step to the next.
        reach: Of the input before and behind its first place that a step hears.
        count: How many steps an input of so many places gives.
    """

    def __init__(
        self,
        function: Steps,
        *,
        stride: int,
        reach: tuple[int, int],
        count: Callable[[int], int],
    ) -> None:
        self.function, self.stride, self.count = function, stride, count
        before, self.behind = reach
        self.spoilt = -(-before // stride)
        # The part of the input that is kept begins with that of step `first`.
        self.kept: Tensor | None = None
        self.seen = self.first = self.given = 0

    def push(self, piece: Tensor) -> Tensor | None:
        """Returns the steps that have heard all that they hear, (B, M, ...); None if there is none.

        Args:
            piece: What comes next, (B, N, ...).
        """
        self.kept = piece if self.kept is None else torch.cat([self.kept, piece], dim=1)
        self.seen += piece.shape[1]
        return self._until((self.seen - 1 - self.behind) // self.stride + 1)

    def finish(self) -> Tensor | None:
        """Returns the steps that still waited, now that nothing more comes; None if there is none."""
        return self._until(self.count(self.seen))

    def _until(self, ready: int) -> Tensor | None:
        if ready <= self.given or self.kept is None:
            return None
        steps = self.function(self.kept)[:, self.given - self.first : ready - self.first]
        self.given = ready
        first = max(self.first, min(ready - self.spoilt, self.seen // self.stride))
        self.kept = self.kept[:, (first - self.first) * self.stride :]
        self.first = first
        return steps
