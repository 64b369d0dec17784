"""GNOT: a solution at any points, from any number of input functions on meshes of their own."""

from collections.abc import Sequence

from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import NormalizedLinearCrossAttention
from headway.core.module import Module
from headway.core.systems import system
from headway.timeseries.fields.layers.gated_experts import GatedExperts, GeometricGate
from headway.timeseries.fields.layers.heterogeneous import (
    AveragedMixers,
    HeterogeneousAttention,
    PointNetwork,
)
from headway.timeseries.layers.torch_norm import TorchLayerNorm


class HeterogeneousBlock(Module):
    """Attention to the input functions, experts, self-attention, experts.

    Attention reads a normalised stream; what the experts make of the stream itself is normalised. The
    block has a gate of its own, which both kinds of experts share.

    Args:
        dim: Channels of a token.
        heads: Heads of the mixers.
        functions: Input functions.
        experts: Feed-forwards of each kind.
        axes: Coordinates of a point.
        cross: Builds a mixer for each function, ``(dim, heads)``; one for all functions if None.
        feedforward: Builds a feed-forward, ``(dim)``.

    Shape:
        x: (B, N, dim). sets: (B, M_i, dim) each. points: (B, N, axes). Output: the same as x.

    Source:
        Hao et al. 2023, https://arxiv.org/abs/2302.14376, section 3.3 and figure 2; the places of the norms
        are those of its code.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        functions: int,
        experts: int,
        *,
        axes: int,
        cross: MixerFactory | None = None,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        self.cross = (
            HeterogeneousAttention(dim, heads, functions)
            if cross is None
            else AveragedMixers(dim, heads, functions, mixer=cross)
        )
        self.set_norms = nn.ModuleList(TorchLayerNorm(dim) for _ in range(functions))
        make = NormalizedLinearCrossAttention if cross is None else cross
        self.mixer = make(dim, heads)
        self.norms = nn.ModuleList(TorchLayerNorm(dim) for _ in range(4))
        self.experts = nn.ModuleList(
            GatedExperts(dim, experts, feedforward=feedforward) for _ in range(2)
        )
        self.gate = GeometricGate(axes, 4 * dim, experts)

    def forward(
        self,
        x: Tensor,
        layout: Layout,
        sets: Sequence[Tensor],
        layouts: Sequence[Layout],
        points: Tensor,
    ) -> Tensor:
        """Returns the tokens of the points."""
        gates = self.gate(points)
        known = [norm(tokens) for norm, tokens in zip(self.set_norms, sets, strict=True)]
        x = x + self.cross(self.norms[0](x), layout, known, layouts)
        x = x + self.norms[1](self.experts[0](x, gates))
        own = self.norms[2](x)
        x = x + self.mixer(own, layout, context=own, context_layout=layout)
        return x + self.norms[3](self.experts[1](x, gates))


@system(
    id=512,
    name="GNOT",
    paper="https://arxiv.org/abs/2302.14376",
    claim="input functions on meshes of their own, each with its own attention, and experts that the "
    "position in space chooses: solutions at any points, in any order",
    test="packages/timeseries/tests/fields/models/test_gnot.py",
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
        experts: Feed-forwards among which the position chooses.
        extras: Further numbers of an asked point behind its coordinates, such as parameters of the whole
            problem; the gates do not see them.
        cross: Builds the mixers, ``(dim, heads)``, which read a context: one for each function, averaged,
            and one for self-attention. If None, the published attention, whose results for all functions
            are added up.
        feedforward: Builds a feed-forward, ``(dim)``.

    Shape:
        points: (B, N, axes + extras). sets: (B, M_i, functions[i]) each. valid, set_valid: (B, N) and
        (B, M_i) bool. Output: (B, N, outputs).

    Raises:
        UserError: If there is no input function, or sets are not as announced.

    Source:
        Hao et al. 2023, https://arxiv.org/abs/2302.14376, as in the authors' code (thu-ml/GNOT).
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
        extras: int = 0,
        cross: MixerFactory | None = None,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__()
        if experts < 1:
            raise UserError(f"experts must be at least 1, got {experts}")
        if not functions or min(functions) < 1:
            raise UserError(f"functions needs one positive number for each, got {list(functions)}")
        self.axes, self.extras, self.functions = axes, extras, tuple(functions)
        self.point_embedding = PointNetwork(axes + extras, dim, dim)
        self.embeddings = nn.ModuleList(PointNetwork(numbers, dim, dim) for numbers in functions)
        self.blocks = nn.ModuleList(
            HeterogeneousBlock(
                dim,
                heads,
                len(self.functions),
                experts,
                axes=axes,
                cross=cross,
                feedforward=feedforward,
            )
            for _ in range(depth)
        )
        self.head = PointNetwork(dim, dim, outputs)

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
        if points.shape[2] != self.axes + self.extras or found != list(self.functions):
            raise UserError(
                f"this GNOT reads points of {self.axes + self.extras} numbers and functions of "
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
        x = self.point_embedding(points)
        for block in self.blocks:
            x = block(x, layout, tokens, layouts, points[..., : self.axes])
        return self.head(x)


def _clean(x: Tensor, valid: Tensor | None) -> Tensor:
    """Returns ``x`` with zeros where it is padding, whatever that holds."""
    return x if valid is None else x.masked_fill(~valid[..., None], 0.0)
