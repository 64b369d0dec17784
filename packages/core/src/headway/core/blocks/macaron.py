"""A mixer between two half steps of the feed-forward."""

from typing import ClassVar, cast

import torch
from torch import Tensor

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.blocks.residual import NormFactory, PostNorm, PreNorm, Residual
from headway.core.cache import Cache, CacheGroup
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.sublayer import Sublayer
from headway.core.systems import system
from headway.core.taps import tap


class HalfStep(PreNorm):
    """``x + f(norm(x)) / 2``."""

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Returns the stream with half of the branch added."""
        return x + 0.5 * self.scaled(branch)


class HalfStepPostNorm(PostNorm):
    """``norm(x + f(x) / 2)``."""

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """Returns the norm of the stream with half of the branch added."""
        return self.norm(x + 0.5 * self.scaled(branch))


@system(
    id=535,
    name="Macaron Net",
    paper="https://arxiv.org/abs/1906.02762",
    claim="half-step feed-forwards stand before and after attention, as in Strang's splitting",
    test="packages/core/tests/parts/test_macaron.py",
)
class MacaronBlock(Sublayer):
    """Half a feed-forward, the mixer, a convolution, the other half, and a norm: the Conformer's block.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixer.
        mixer: Builds the token mixer, ``(dim, heads)``.
        convolution: Builds the mixer of the neighbourhood behind it, ``(dim, heads)``; None for none, as
            in Macaron Net.
        feedforward: Builds each of the two feed-forwards, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        layer_scale: Where a learned scale of each branch starts; none if None.
        drop_path: Probability of dropping a branch of an item in training.

    Shape:
        x: (B, N, dim). Output: (B, N, dim) and the layout.

    Source:
        Lu et al. 2019, https://arxiv.org/abs/1906.02762; with the convolution and the final norm: Gulati
        et al. 2020, https://arxiv.org/abs/2005.08100, eq. 1.
    """

    half_step: ClassVar[type[Residual]] = HalfStep
    residual: ClassVar[type[Residual]] = PreNorm

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mixer: MixerFactory = SelfAttention,
        convolution: MixerFactory | None = GatedConvolutionMixer,
        feedforward: FeedForwardFactory = MLP,
        norm: NormFactory = LayerNorm,
        layer_scale: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()

        def half() -> Residual:
            return self.half_step(
                dim, feedforward(dim), norm=norm, layer_scale=layer_scale, drop_path=drop_path
            )

        def whole(function: MixerFactory) -> Residual:
            return self.residual(
                dim, function(dim, heads), norm=norm, layer_scale=layer_scale, drop_path=drop_path
            )

        self.feedforward_in = half()
        self.mixer = whole(mixer)
        self.convolution = whole(convolution) if convolution is not None else None
        self.feedforward_out = half()
        self.norm = norm(dim)

    def forward(
        self,
        x: Tensor,
        layout: Layout | None = None,
        *,
        context: Tensor | None = None,
        context_layout: Layout | None = None,
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> tuple[Tensor, Layout | None]:
        """Runs the sublayers; bias, mask and context are the mixer's."""
        own = cast(CacheGroup, cache).get("mixer") if cache is not None else None
        x, layout = self.feedforward_in(x, layout)
        x, layout = self.mixer(
            x,
            layout,
            context=context,
            context_layout=context_layout,
            bias=bias,
            mask=mask,
            cache=own,
        )
        if self.convolution is not None:
            nearby = cast(CacheGroup, cache).get("convolution") if cache is not None else None
            x, layout = self.convolution(x, layout, cache=nearby)
        x, layout = self.feedforward_out(x, layout)
        x = self.norm(x)
        tap(self, "output", x)
        return x, layout

    def init_cache(
        self,
        batch: int,
        max_length: int,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> CacheGroup:
        """Returns a cache for the mixer and one for the convolution."""
        parts = {"mixer": self.mixer, "convolution": self.convolution}
        return CacheGroup(
            {
                name: part.function.init_cache(batch, max_length, dtype, device)  # pyright: ignore[reportCallIssue]
                for name, part in parts.items()
                if part is not None
            }
        )


class PostNormMacaronBlock(MacaronBlock):
    """The same with a norm behind each sum, as in ESPnet's FastSpeech 2."""

    half_step: ClassVar[type[Residual]] = HalfStepPostNorm
    residual: ClassVar[type[Residual]] = PostNorm
