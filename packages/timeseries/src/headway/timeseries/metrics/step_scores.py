"""One score for each step, from windows that overlap."""

import torch
from torch import Tensor
from torchmetrics import Metric


class StepScores(Metric):
    """The mean squared error of each step over all windows that hold it, and over its known values.

    Args:
        steps: Rows of the part.

    Shape:
        error, mask: (B, L, N). row: (B,). Output: (steps,), NaN without a known value.
    """

    total: Tensor
    count: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        zeros = torch.zeros(steps, dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("count", zeros.clone(), dist_reduce_fx="sum")

    def update(self, error: Tensor, row: Tensor, mask: Tensor | None) -> None:
        """Adds the squared errors of windows.

        Args:
            error: Of each value.
            row: First row of each window.
            mask: True where a value is known; None if all are.
        """
        known = torch.ones_like(error, dtype=torch.bool) if mask is None else mask
        squared = error.detach().square().masked_fill(~known, 0.0)
        steps = row[:, None] + torch.arange(error.shape[1], device=row.device)
        for state, values in ((self.total, squared), (self.count, known)):
            state.index_add_(0, steps.flatten(), values.sum(dim=2).flatten().to(state.dtype))

    def compute(self) -> Tensor:
        """Returns the score of each step."""
        return torch.where(self.count > 0, self.total / self.count, torch.nan)
