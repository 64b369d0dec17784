"""GSM++: atoms in the order of a tree of what is alike, read by a recurrent block and by attention."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelectiveScan, SelfAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.molecules.models.graph_backbone import GraphBackbone


class GatedGraphConvolution(Module):
    """An atom adds up its neighbours, each through a gate of both and of the bond.

    Args:
        dim: Channels of an atom.
        norm: Builds the norm, ``(dim)``.

    Shape:
        x: (B, N, dim). neighbours: (B, N, K), places counted from 1, 0 for none. links: (B, N, K, dim).
        Output: as x.

    Source:
        Bresson and Laurent 2017, https://arxiv.org/abs/1711.07553, eq. 11. The norm is one of each atom;
        theirs is one of the batch.
    """

    def __init__(self, dim: int, *, norm: Callable[[int], nn.Module] = LayerNorm) -> None:
        super().__init__()
        self.own, self.other = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.gate_own, self.gate_other = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.gate_link = nn.Linear(dim, dim, bias=False)
        self.norm = norm(dim)

    def forward(self, x: Tensor, neighbours: Tensor, links: Tensor) -> Tensor:
        """Adds them up."""
        gate = self.gate_own(x)[:, :, None] + _at(self.gate_other(x), neighbours)
        passed = (gate + self.gate_link(links)).sigmoid() * _at(self.other(x), neighbours)
        passed = passed.masked_fill((neighbours == 0)[..., None], 0.0)
        return x + F.relu(self.norm(self.own(x) + passed.sum(dim=2)))


class TreeBias(Module):
    """What two atoms add to their score by the round in which they were joined.

    Args:
        heads: Heads of the attention.
        levels: Rounds that are told apart.

    Shape:
        clusters: (B, N, levels). whole: (B, N + 1), True at the token of the graph. Output:
        (B, heads, N + 1, N + 1).

    Source:
        Behrouz et al. 2024, https://arxiv.org/abs/2411.15671, section 4 (hierarchical positional encoding).
    """

    def __init__(self, heads: int, *, levels: int) -> None:
        super().__init__()
        # Rounds 1 to levels, an atom with itself (0), never, and whatever has to do with the graph's token.
        self.round = nn.Embedding(levels + 3, heads)
        self.levels = levels
        nn.init.normal_(self.round.weight, std=0.02)

    def forward(self, clusters: Tensor, whole: Tensor) -> Tensor:
        """Returns the bias.

        Raises:
            UserError: If there are not as many rounds.
        """
        if clusters.shape[2] != self.levels:
            raise UserError(
                f"the graphs have {clusters.shape[2]} rounds and the model tells {self.levels} apart; set "
                f"levels to {clusters.shape[2]}"
            )
        apart = (clusters[:, :, None] != clusters[:, None]).sum(dim=-1) + 1
        same = torch.eye(clusters.shape[1], dtype=torch.bool, device=clusters.device)
        apart = F.pad(apart.masked_fill(same, 0), (0, 1, 0, 1))
        token = whole[:, :, None] | whole[:, None]
        apart = apart.masked_fill(token, self.round.num_embeddings - 1)
        return self.round(apart).permute(0, 3, 1, 2)


@system(
    id=481,
    name="GSM++",
    paper="https://arxiv.org/abs/2411.15671",
    claim="recurrent blocks see the order and attention looks things up; the hybrid does both, and neither "
    "alone does",
    test="packages/molecules/tests/models/test_gsm.py",
)
class GSM(GraphBackbone):
    """A molecule as a sequence: ordered by a tree, encoded locally, then globally by two kinds of blocks.

    Atoms that were joined early in an affinity clustering stand side by side (``graphs.affinity_graph``);
    a gated convolution over the bonds encodes each with its surroundings; recurrent blocks read the atoms in
    this order, up to a token of the graph behind the last; and blocks of attention, which are told by a bias
    in which round two atoms were joined, see all at once.

    Args:
        dim: Channels of an atom.
        local_depth: Convolutions over the bonds.
        recurrent_depth: Recurrent blocks.
        attention_depth: Blocks of attention behind them.
        heads: Heads of the attention.
        recurrent: Builds the recurrent mixer, ``(dim, heads)``.
        attention: Builds the other one, ``(dim, heads)``; it takes a bias.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        atom_values: Numbers of the features of an atom, and one for padding.
        bond_values: The same of a bond.
        levels: Rounds of the clustering that are told apart, those of the graphs.
        dropout: Probability of dropping a channel of an atom in training.
        drop_path: Rate of stochastic depth.

    Shape:
        As of ``graphs.AffinityGraphs``. Output: (B, N + 1, dim), the token of the graph in front.

    Raises:
        UserError: If there is neither a recurrent block nor one of attention.

    Source:
        Behrouz et al. 2024, https://arxiv.org/abs/2411.15671, section 4, as far as abstract,
        figures and tables tell. One order of all nodes (the breadth-first one) is built; that of a way
        through the tree for each node, and the choice among orders (mixture of tokenisation), are not.
    """

    graphs: ClassVar[str] = "affinity"

    def __init__(
        self,
        *,
        dim: int = 80,
        local_depth: int = 2,
        recurrent_depth: int = 1,
        attention_depth: int = 1,
        heads: int = 8,
        recurrent: MixerFactories = SelectiveScan,
        attention: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
        atom_values: int = 512 * 9 + 1,
        bond_values: int = 512 * 3 + 1,
        levels: int = 8,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if min(local_depth, recurrent_depth, attention_depth) < 0:
            raise UserError("local_depth, recurrent_depth and attention_depth are at least 0")
        if not recurrent_depth + attention_depth:
            raise UserError("recurrent_depth and attention_depth are 0; give one block at least")
        self.width = dim
        self.atom = nn.Embedding(atom_values, dim, padding_idx=0)
        self.bond = nn.Embedding(bond_values, dim, padding_idx=0)
        self.graph_token = nn.Parameter(torch.zeros(dim))
        self.dropout = Dropout(dropout)
        self.local = nn.ModuleList(
            GatedGraphConvolution(dim, norm=norm) for _ in range(local_depth)
        )

        def stack(mixer: MixerFactories, depth: int) -> Encoder | None:
            if not depth:
                return None
            return Encoder(
                dim,
                depth,
                heads,
                mixer=mixer,
                feedforward=feedforward,
                norm=norm,
                final_norm=False,
                drop_path=drop_path,
            )

        self.recurrent = stack(recurrent, recurrent_depth)
        self.attention = stack(attention, attention_depth)
        self.bias = TreeBias(heads, levels=levels) if attention_depth else None
        self.norm = norm(dim)
        for table in (self.atom, self.bond):
            nn.init.normal_(table.weight, std=dim**-0.5 / 3)
            with torch.no_grad():
                table.weight[0] = 0.0
        nn.init.normal_(self.graph_token, std=0.02)
        if self.attention is not None:
            init_transformer_(self.attention)

    def forward(
        self,
        atoms: Tensor,
        neighbours: Tensor,
        links: Tensor,
        clusters: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        """Returns a vector of the graph and one of each atom."""
        x, bonds = self.dropout(self.atom(atoms).sum(dim=2)), self.bond(links).sum(dim=3)
        for convolution in self.local:
            x = convolution(x, neighbours, bonds)
        # The token of the graph stands behind the last atom, where a recurrent block has seen them all.
        places = torch.arange(x.shape[1] + 1, device=x.device)
        whole = places == lengths[:, None]
        x = torch.where(whole[..., None], self.graph_token.to(x.dtype), F.pad(x, (0, 0, 0, 1)))
        layout = Layout(lengths=lengths + 1)
        if self.recurrent is not None:
            x, _ = self.recurrent(x, layout)
        if self.attention is not None and self.bias is not None:
            x, _ = self.attention(x, layout, bias=self.bias(clusters, whole))
        x = self.norm(x)
        graph = x.masked_fill(~whole[..., None], 0.0).sum(dim=1, keepdim=True)
        return torch.cat([graph, x[:, :-1]], dim=1)


def _at(x: Tensor, places: Tensor) -> Tensor:
    """What stands at places counted from 1, and zeros at 0: (B, N, K, dim)."""
    rows = torch.arange(x.shape[0], device=x.device)[:, None, None]
    return F.pad(x, (0, 0, 1, 0))[rows, places]
