"""GNOT: a solution at any points, from any number of input functions on meshes of their own."""

from collections.abc import Sequence

from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import NormalizedLinearCrossAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.systems import system
from headway.timeseries.layers.gated_experts import GatedExperts, GeometricGate


def two_layers(inputs: int, dim: int) -> nn.Sequential:
    """Returns a small network from the numbers of a point to a token."""
    return nn.Sequential(nn.Linear(inputs, dim), nn.GELU(), nn.Linear(dim, dim))


class HeterogeneousBlock(Module):
    """Attention to each input function, experts, self-attention, experts.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        functions: Input functions; each has a mixer of its own.
        experts: Feed-forwards of each kind.
        cross: Builds the mixers, ``(dim, heads)``; they read a context.
        feedforward: Builds a feed-forward, ``(dim)``.

    Shape:
        x: (B, N, dim). sets: (B, M_i, dim) each. gates: (B, N, experts). Output: the same as x.

    Source:
        Hao et al. 2023, https://arxiv.org/abs/2302.14376, section 3.3 and figure 2.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        functions: int,
        experts: int,
        *,
        cross: MixerFactory,
        feedforward: FeedForwardFactory,
    ) -> None:
        super().__init__()
        self.cross = nn.ModuleList(cross(dim, heads) for _ in range(functions))
        self.set_norms = nn.ModuleList(LayerNorm(dim) for _ in range(functions))
        self.mixer = cross(dim, heads)
        self.norms = nn.ModuleList(LayerNorm(dim) for _ in range(4))
        self.experts = nn.ModuleList(
            GatedExperts(dim, experts, feedforward=feedforward) for _ in range(2)
        )

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        sets: Sequence[Tensor],
        layouts: Sequence[Layout],
        gates: Tensor,
    ) -> Tensor:
        """Returns the tokens of the points."""
        query = self.norms[0](x)
        read = [
            cross(query, layout, context=norm(tokens), context_layout=places)
            for cross, norm, tokens, places in zip(
                self.cross, self.set_norms, sets, layouts, strict=True
            )
        ]
        for part in read:
            x = x + part / len(read)
        x = x + self.experts[0](self.norms[1](x), gates)
        own = self.norms[2](x)
        x = x + self.mixer(own, layout, context=own, context_layout=layout)
        return x + self.experts[1](self.norms[3](x), gates)


@system(
    id=512,
    name="GNOT",
    paper="https://arxiv.org/abs/2302.14376",
    claim="input functions on meshes of their own, each with its own attention, and experts that the place "
    "in space chooses: solutions at any points, in any order",
    test="packages/timeseries/tests/models/test_gnot.py",
)
class GNOT(Module):
    """Maps functions, given as sets of points and values, to a solution at asked points.

    Args:
        axes: Coordinates of a point.
        functions: Numbers of a point of each input function, coordinates included; one entry for each.
        outputs: Numbers of the solution at a point.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        experts: Feed-forwards among which the place chooses.
        cross: Builds the mixers, ``(dim, heads)``; they read a context.
        feedforward: Builds a feed-forward, ``(dim)``.

    Shape:
        points: (B, N, axes). sets: (B, M_i, functions[i]) each. valid, set_valid: (B, N) and (B, M_i) bool.
        Output: (B, N, outputs).

    Raises:
        UserError: If there is no input function, or sets are not as announced.

    Source:
        Hao et al. 2023, https://arxiv.org/abs/2302.14376.
    """

    def __init__(
        self,
        *,
        axes: int = 2,
        functions: Sequence[int] = (3,),
        outputs: int = 1,
        dim: int = 64,
        depth: int = 3,
        heads: int = 4,
        experts: int = 3,
        cross: MixerFactory = NormalizedLinearCrossAttention,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        if experts < 1:
            raise UserError(f"experts must be at least 1, got {experts}")
        if not functions or min(functions) < 1:
            raise UserError(f"functions needs one positive number for each, got {list(functions)}")
        self.axes, self.functions = axes, tuple(functions)
        self.point_embedding = two_layers(axes, dim)
        self.embeddings = nn.ModuleList(two_layers(numbers, dim) for numbers in functions)
        self.gate = GeometricGate(axes, dim, experts)
        self.blocks = nn.ModuleList(
            HeterogeneousBlock(
                dim, heads, len(self.functions), experts, cross=cross, feedforward=feedforward
            )
            for _ in range(depth)
        )
        self.norm = LayerNorm(dim)
        self.head = nn.Linear(dim, outputs)

    def forward(
        self,
        points: Tensor,
        sets: Sequence[Tensor],
        *,
        valid: Tensor | None = None,
        set_valid: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        """Returns the solution at the points.

        Args:
            points: Where it is asked for.
            sets: Points of the input functions with their values.
            valid: True where a point is real; None if all are.
            set_valid: The same for each input function.
        """
        found = [tokens.shape[2] for tokens in sets]
        if points.shape[2] != self.axes or found != list(self.functions):
            raise UserError(
                f"this GNOT reads points of {self.axes} coordinates and functions of "
                f"{list(self.functions)} numbers, got {points.shape[2]} and {found}"
            )
        masks = set_valid if set_valid is not None else [None] * len(sets)
        layout = Layout(valid=valid)
        layouts = [Layout(valid=mask) for mask in masks]
        points = _clean(points, valid)
        tokens = [
            embedding(_clean(values, mask))
            for embedding, values, mask in zip(self.embeddings, sets, masks, strict=True)
        ]
        x, gates = self.point_embedding(points), self.gate(points)
        for block in self.blocks:
            x = block(x, layout, tokens, layouts, gates)
        return self.head(self.norm(x))


def _clean(x: Tensor, valid: Tensor | None) -> Tensor:
    """Returns ``x`` with zeros where it is padding, whatever that holds."""
    return x if valid is None else x.masked_fill(~valid[..., None], 0.0)
