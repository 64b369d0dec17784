"""A decoder block whose queries first read their own part of the context."""

from torch import Tensor

from headway.core.blocks import PostNormBlock
from headway.core.cache import Cache
from headway.core.layout import Layout


class MaskedBlock(PostNormBlock):
    """Masked cross-attention, then self-attention, then the feed-forward; a norm after each sum.

    ``mask`` is that of the cross-attention: what each query may read of the context, True = may attend,
    broadcastable to (B, heads, N, M). Queries know nothing of each other before they have read something.

    Shape:
        x: (B, N, dim). context: (B, M, dim). Output: (B, N, dim) and the layout.

    Source:
        Cheng et al. 2022 (Mask2Former), https://arxiv.org/abs/2112.01527, section 3.2.
    """

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
        """Runs the sublayers."""
        read = self.cross.function(
            self.cross.before(x), layout, context=context, context_layout=context_layout, mask=mask
        )
        x, layout = self.mixer(self.cross.add(x, read), layout, bias=bias, cache=cache)
        return self.feedforward(x, layout)
