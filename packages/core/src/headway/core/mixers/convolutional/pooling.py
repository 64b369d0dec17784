"""Average pooling as a token mixer."""

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.mixers.convolutional.local import (
    mean_of_positions,
    real_tokens,
    to_positions,
    to_tokens,
)
from headway.core.systems import system


@system(
    id=460,
    name="PoolFormer (MetaFormer)",
    paper="https://arxiv.org/abs/2111.11418",
    claim="the average of the neighbourhood minus the token mixes tokens without parameters",
    test="packages/core/tests/parts/test_mixers.py",
)
class PoolingMixer(TokenMixer):
    """The average of the neighbourhood minus the token itself; no parameters.

    Padding and the border of the grid do not count in the average. Prefix tokens, which the paper does
    not have, take the average of all other tokens minus themselves.

    Args:
        dim: Channels of a token (not used).
        heads: Ignored.
        window: Side of the neighbourhood in tokens, odd.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Yu et al. 2021, https://arxiv.org/abs/2111.11418, eq. 4.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid", "prefix"})

    def __init__(self, dim: int, heads: int = 1, *, window: int = 3) -> None:
        super().__init__()
        if window < 1 or window % 2 == 0:
            raise UserError(f"window must be odd and positive, got {window}")
        self.window = window

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Averages the neighbourhood of each token."""
        positions, grid = to_positions(x, layout)
        real = real_tokens(x, layout, grid)
        pool = F.avg_pool1d if len(grid) == 1 else F.avg_pool2d
        border = self.window // 2
        if real is None:
            average = pool(positions, self.window, 1, border, count_include_pad=False)
        else:
            total = pool(positions * real, self.window, 1, border)
            average = total / pool(real, self.window, 1, border).clamp_min(1e-6)
        prefix = x[:, : layout.prefix]
        if layout.prefix:
            prefix = mean_of_positions(positions, real) - prefix
        return to_tokens(average - positions, prefix)
