"""Graphormer: a transformer that reads the structure of a graph as biases of its attention."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.dropout import Dropout
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.molecules.models.graph_backbone import GraphBackbone


class StructuralBias(Module):
    """What two atoms add to their score by their distance and the bonds between them.

    Args:
        heads: Heads of the attention.
        distances: Distances that are told apart, and one for padding.
        bond_values: Numbers of the features of a bond, and one for padding.
        hops: Bonds of a way that are read.

    Shape:
        distances: (B, N, N). bonds: (B, E + 1, 3). hops: (B, N, N, hops).
        Output: (B, heads, N + 1, N + 1), the token of the graph in front.

    Source:
        Ying et al. 2021, https://arxiv.org/abs/2106.05234, eqs. 6 and 7 and section 3.2.
    """

    def __init__(self, heads: int, *, distances: int, bond_values: int, hops: int) -> None:
        super().__init__()
        self.heads, self.hops = heads, hops
        self.distance = nn.Embedding(distances, heads, padding_idx=0)
        self.bond = nn.Embedding(bond_values, heads, padding_idx=0)
        self.hop = nn.Parameter(torch.empty(hops, heads, heads))
        self.to_graph = nn.Parameter(torch.empty(heads))
        for weight in (self.distance.weight, self.bond.weight, self.hop, self.to_graph):
            nn.init.normal_(weight, std=0.02)
        with torch.no_grad():
            self.distance.weight[0], self.bond.weight[0] = 0.0, 0.0

    def forward(self, distances: Tensor, bonds: Tensor, hops: Tensor) -> Tensor:
        """Returns the bias."""
        batch, atoms, _ = distances.shape
        between = self.distance(distances) + self._edges(distances, bonds, hops)
        whole = self.to_graph.expand(batch, atoms + 1, atoms + 1, self.heads)
        edge = whole[:, :, :1]
        below = torch.cat([edge[:, 1:], between], dim=2)
        return torch.cat([whole[:, :1], below], dim=1).permute(0, 3, 1, 2)

    def _edges(self, distances: Tensor, bonds: Tensor, hops: Tensor) -> Tensor:
        """The mean over the bonds of the way, each seen by the weights of its place on it."""
        # Few bonds are met on many ways: each is multiplied once for every place, and looked up then.
        seen = torch.einsum("beh,phk->bpek", self.bond(bonds).mean(dim=2), self.hop)
        batch, atoms = distances.shape[:2]
        total = seen.new_zeros(batch, atoms, atoms, self.heads)
        rows = torch.arange(batch, device=distances.device)[:, None, None]
        for place in range(self.hops):
            total = total + seen[rows, place, hops[..., place]]
        # Distances are counted from 1, 0 is padding.
        steps = (distances - 1).clamp(1, self.hops)
        return total / steps[..., None]


@system(
    id=444,
    name="Graphormer",
    paper="https://arxiv.org/abs/2106.05234",
    claim="attention that is told distances and bonds tells graphs apart that the same transformer without "
    "these biases cannot",
    test="packages/molecules/tests/models/test_graphormer.py",
)
class Graphormer(GraphBackbone):
    """Atoms as tokens with their degree, a token of the whole graph, and biases of the structure.

    The published base model has 12 blocks of 768 channels, 32 heads and a feed-forward as wide as the tokens.

    Args:
        dim: Channels of an atom.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixer, ``(dim, heads)``; it takes a bias.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block; the norm stands behind each sum.
        final_norm: Whether a norm ends the stack, for blocks whose norm stands in front.
        atom_values: Numbers of the features of an atom, and one for padding.
        bond_values: The same of a bond.
        degrees: Degrees that are told apart, and one for padding.
        distances: Distances that are told apart, and one for padding; None tells attention nothing of the
            structure.
        hops: Bonds of a way that are read.
        dropout: Probability of dropping a channel of an atom in training.
        drop_path: Rate of stochastic depth of the last block.

    Shape:
        As of ``graphs.Graphs``. Output: (B, N + 1, dim), the token of the graph in front.

    Source:
        Ying et al. 2021, https://arxiv.org/abs/2106.05234, section 3.
    """

    graphs: ClassVar[str] = "ways"

    def __init__(
        self,
        *,
        dim: int = 80,
        depth: int = 6,
        heads: int = 8,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-5),  # noqa: B008
        block: BlockFactory = PostNormBlock,
        final_norm: bool = False,
        atom_values: int = 512 * 9 + 1,
        bond_values: int = 512 * 3 + 1,
        degrees: int = 512,
        distances: int | None = 512,
        hops: int = 5,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.width = dim
        self.atom = nn.Embedding(atom_values, dim, padding_idx=0)
        self.in_degree = nn.Embedding(degrees, dim, padding_idx=0)
        self.out_degree = nn.Embedding(degrees, dim, padding_idx=0)
        self.graph_token = nn.Parameter(torch.zeros(dim))
        self.bias = (
            None
            if distances is None
            else StructuralBias(heads, distances=distances, bond_values=bond_values, hops=hops)
        )
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            final_norm=final_norm,
            drop_path=drop_path,
        )
        self.transform = nn.Linear(dim, dim)
        self.activation = nn.GELU()
        self.norm = norm(dim)
        init_transformer_(self)
        for table in (self.atom, self.in_degree, self.out_degree):
            nn.init.normal_(table.weight, std=0.02)
            with torch.no_grad():
                table.weight[0] = 0.0
        nn.init.normal_(self.graph_token, std=0.02)

    def forward(
        self,
        atoms: Tensor,
        degrees: Tensor,
        distances: Tensor,
        bonds: Tensor,
        hops: Tensor,
        lengths: Tensor,
    ) -> Tensor:
        """Returns a vector of the graph and one of each atom."""
        # Bonds go both ways, so an atom has as many to it as from it.
        x = self.atom(atoms).sum(dim=2) + self.in_degree(degrees) + self.out_degree(degrees)
        x = torch.cat([self.graph_token.expand(x.shape[0], 1, -1), x], dim=1)
        bias = None if self.bias is None else self.bias(distances, bonds, hops)
        x, _ = self.encoder(self.dropout(x), Layout(lengths=lengths + 1), bias=bias)
        return self.norm(self.activation(self.transform(x)))
