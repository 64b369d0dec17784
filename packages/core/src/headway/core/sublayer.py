"""What blocks are made of: steps from ``(x, layout)`` to ``(x, layout)``."""

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from headway.core.cache import Cache
from headway.core.layout import Layout
from headway.core.module import Module


class Sublayer(Module):
    """A step of a block; a resampler between mixer and feed-forward is one, too.

    All steps share one signature, and each takes what concerns it.
    """

    @abstractmethod
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
        """Returns the new tokens and their layout."""


class Chain(Sublayer):
    """Several sublayers in the place of one: how a toolbox inserts a step into a block.

    Args:
        sublayers: The steps, in order. The first one gets the cache.
    """

    def __init__(self, sublayers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.sublayers = nn.ModuleList(sublayers)

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
        """Runs the steps in order."""
        for place, sublayer in enumerate(self.sublayers):
            x, layout = sublayer(
                x,
                layout,
                context=context,
                context_layout=context_layout,
                bias=bias,
                mask=mask,
                cache=cache if place == 0 else None,
            )
        return x, layout
