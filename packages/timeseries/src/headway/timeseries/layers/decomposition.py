"""Series as trend and season."""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module
from headway.core.ops.tracing import readable

# Steps up to which a product with a matrix is faster than pooling, whose gradient is slow.
_SHORT = 256
# Columns up to which one product over all items is faster than one per item.
_FEW = 64


class SeriesDecomposition(Module):
    """Splits series into a moving average (trend) and the rest (season).

    Before the average is taken, the first and the last value are repeated at the ends.

    Args:
        window: Steps of the average, odd.

    Shape:
        x: (B, L, N). Output: season and trend, (B, L, N) each.

    Raises:
        UserError: If the window is even or below 1.

    Source:
        Wu et al. 2021, https://arxiv.org/abs/2106.13008, eq. 1.
    """

    def __init__(self, window: int = 25) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise UserError(f"window is {window}; a centred average needs an odd number of steps")
        self.window = window

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns season and trend."""
        reach = self.window // 2
        if not reach:
            return torch.zeros_like(x), x
        if x.shape[1] <= _SHORT:
            averages = _kept_averages if readable(x) else _averages
            matrix = averages(x.shape[1], reach, x.dtype, x.device)
            # A free number of series is no number to compare with.
            if isinstance(x.shape[2], int) and x.shape[2] < _FEW:
                trend = (x.transpose(1, 2) @ matrix.T).transpose(1, 2)
            else:
                trend = matrix @ x
            return x - trend, trend
        ends = x[:, :1].expand(-1, reach, -1), x[:, -1:].expand(-1, reach, -1)
        padded = torch.cat([ends[0], x, ends[1]], dim=1)
        trend = F.avg_pool1d(padded.transpose(1, 2), self.window, 1).transpose(1, 2)
        return x - trend, trend


def _averages(steps: int, reach: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The moving average as a matrix, (L, L)."""
    positions = torch.arange(steps, device=device)
    near = positions[:, None] + torch.arange(-reach, reach + 1, device=device)
    shares = torch.full(near.shape, 1.0 / near.shape[1], dtype=dtype, device=device)
    zeros = torch.zeros(steps, steps, dtype=dtype, device=device)
    return zeros.scatter_add(1, near.clamp(0, steps - 1), shares)


@functools.lru_cache(maxsize=8)
def _kept_averages(steps: int, reach: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # An inference tensor could not be saved for the gradients of a later call.
    with torch.inference_mode(False):
        return _averages(steps, reach, dtype, device)
