"""Merging of similar tokens."""

import torch
from torch import Tensor

from headway.core.layout import Layout
from headway.core.resample.base import Resampler
from headway.core.resample.matching import MostSimilar, join
from headway.core.systems import system


@system(
    id=None,
    name="ToMe",
    paper="https://arxiv.org/abs/2210.09461",
    claim="the most similar tokens are merged to means weighted by what they stand for",
    test="packages/core/tests/parts/test_resample_and_heads.py",
)
class TokenMerging(Resampler):
    """Merges the ``amount`` most similar pairs of tokens; the mean is weighted by what they stand for.

    ``MostSimilar`` says which pairs these are. Prefix tokens stay as they are. ``layout.sizes`` counts
    what a token stands for, ``layout.positions`` holds the weighted mean position. Padding never merges, and
    is on the right afterwards.

    Args:
        amount: Tokens to remove; at most half of those behind the prefix are.

    Shape:
        x: (B, N, C). Output: (B, N - amount, C) and its layout.

    Source:
        Bolya et al. 2022, https://arxiv.org/abs/2210.09461, section 3.
    """

    def __init__(self, amount: int) -> None:
        super().__init__()
        self.matching = MostSimilar(amount=amount)

    def resample(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Merges similar tokens."""
        groups = self.matching(x, layout)
        return (x, layout) if groups is None else join(x, layout, groups)


def unmerge(values: Tensor, positions: Tensor, layout: Layout) -> Tensor:
    """Returns for each original position the value of the nearest merged token.

    Shape:
        values: (B, N). positions: (B or 1, M, axes), the original positions. Output: (B, M).
    """
    if layout.positions is None:
        return values
    placed = layout.positions[:, layout.prefix :]
    nearest = torch.cdist(positions.expand(len(placed), -1, -1).float(), placed.float()).argmin(-1)
    return values[:, layout.prefix :].gather(1, nearest)
