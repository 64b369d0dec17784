"""Fourier mixing."""

from typing import ClassVar

import torch
from torch import Tensor

from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.systems import system


@system(
    id=140,
    name="FNet",
    paper="https://arxiv.org/abs/2105.03824",
    claim="tokens are mixed by the real part of a 2-D Fourier transform, without parameters",
    test="packages/core/tests/parts/test_mixers.py",
)
class FourierMixer(TokenMixer):
    """The real part of a Fourier transform over tokens and channels; no parameters.

    Every output depends on every input and on their number, so there is no causal form and no padding.

    Args:
        dim: Channels of a token (not used).
        heads: Ignored.

    Shape:
        x: (B, N, dim). Output: the same.

    Source:
        Lee-Thorp et al. 2021, https://arxiv.org/abs/2105.03824, eq. 3.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"prefix"})

    def __init__(self, dim: int, heads: int = 1) -> None:
        super().__init__()

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Transforms over tokens and channels, in float32 at least."""
        if not x.shape[0]:
            # The libraries of transforms refuse nothing at all.
            return x
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        return torch.fft.fft2(wide, dim=(1, 2)).real.to(x.dtype)
