"""Attention to the neighbours on the grid."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.linear import FusedLinear
from headway.core.mixers.base import TokenMixer, check_heads
from headway.core.mixers.softmax.scores import split_heads
from headway.core.ops import neighbourhood_attention
from headway.core.positions.relative import RelativeBias
from headway.core.systems import system
from headway.core.taps import tap


@system(
    id=None,
    name="Neighborhood Attention Transformer",
    paper="https://arxiv.org/abs/2204.07143",
    claim="each token attends to the window around it, moved back into the grid at its border; "
    "with a window as large as the grid this is attention to all",
    test="packages/core/tests/ops/neighbourhood/test_neighbourhood.py",
)
class NeighbourhoodAttention(TokenMixer):
    """Softmax attention of each token to the window around it, with a learned bias per relative position.

    At the border the window is moved back into the grid, so every token has as many neighbours. On a
    sequence of any length, padded or not, the grid is the sequence.

    A graph that is exported with a free number of tokens needs the C++ or Triton kernels where that number
    is computed from another one (time, by strides): the plain path divides what no tracer can divide.

    Args:
        dim: Channels of a token.
        heads: Heads.
        window: Side of the window in tokens, or one number per axis; its length says how many axes the
            grid has (a single number is for pictures).
        dilation: Steps between the tokens of a window, one number or one per axis.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim). Output: the same.

    Raises:
        UserError: If the grid has another number of axes than the window.

    Source:
        Hassani et al. 2022, https://arxiv.org/abs/2204.07143, section 3; dilation: Hassani & Shi 2022,
        https://arxiv.org/abs/2209.15001.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths"})

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        window: int | Sequence[int] = 7,
        dilation: int | Sequence[int] = 1,
        head_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.head_dim = check_heads(dim, heads, head_dim)
        self.heads = heads
        self.window = (window, window) if isinstance(window, int) else tuple(window)
        self.dilation = dilation if isinstance(dilation, int) else tuple(dilation)
        inner = heads * self.head_dim
        self.qkv = FusedLinear(dim, {"q": inner, "k": inner, "v": inner}, bias=qkv_bias)
        self.position = RelativeBias(heads, self.head_dim, grid=self.window)
        self.projection = nn.Linear(inner, dim, bias=out_bias)
        self.out_dropout = Dropout(out_dropout)

    def mix(
        self,
        x: Tensor,
        layout: Layout,
    ) -> Tensor:
        """Attends to the neighbours."""
        grid = layout.grid if layout.grid is not None else (x.shape[1],)
        if layout.positions is not None or len(grid) != len(self.window):
            raise UserError(
                f"NeighbourhoodAttention(window={self.window}) needs all tokens on a grid of "
                f"{len(self.window)} axes, got {grid}; these may have been merged or dropped before"
            )
        query, key, value = split_heads(self.head_dim, *self.qkv(x).chunk(3, dim=-1))
        for name, tensor in (("queries", query), ("keys", key), ("values", value)):
            tap(self, name, tensor)
        options: dict[str, Any] = {"grid": grid, "window": self.window, "dilation": self.dilation}
        out = neighbourhood_attention(
            *(query, key, value),
            table=self.position.table.to(x.dtype),
            lengths=layout.lengths,
            **options,
        )
        return self.out_dropout(self.projection(out.transpose(1, 2).flatten(2)))
