"""Attention along the edges of a fixed graph."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers.base import TokenMixer
from headway.core.mixers.softmax.scores import both
from headway.core.mixers.softmax.self_attention import SelfAttention


class GraphAttention(TokenMixer):
    """Self-attention in which a token sees itself and its neighbours in a graph, and no others.

    Tokens are the nodes of the graph, in order; fewer tokens are its first nodes. The graph is one constant
    mask of the fused kernels.

    Args:
        dim: Channels of a token.
        heads: Heads.
        nodes: How many nodes the graph has.
        edges: Pairs of nodes that see each other, counted from 0.
        head_dim: Width of a head; ``dim / heads`` if None.
        qkv_bias: Whether queries, keys and values have a learned bias.
        out_bias: Whether the output projection has one.
        dropout: Probability of dropping an attention weight in training.
        out_dropout: Probability of dropping an output channel in training.

    Shape:
        x: (B, N, dim), N at most ``nodes``. bias, mask: broadcastable to (B, heads, N, N). Output: as x.

    Raises:
        UserError: If an edge names a node that there is not, or there are more tokens than nodes.

    Source:
        Sferrazza et al. 2024 (Body Transformer), https://arxiv.org/abs/2408.06316, section 4.
    """

    supports: ClassVar[frozenset[str]] = frozenset({"lengths", "valid"})
    free_tokens: ClassVar[bool] = False
    seen: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        nodes: int,
        edges: Sequence[tuple[int, int]],
        head_dim: int | None = None,
        qkv_bias: bool = True,
        out_bias: bool = True,
        dropout: float = 0.0,
        out_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if nodes < 1:
            raise UserError(f"nodes is {nodes}; a graph has at least 1")
        for edge in edges:
            if len(edge) != 2 or not all(0 <= node < nodes for node in edge):
                raise UserError(f"edge {list(edge)} is no pair of the nodes 0 to {nodes - 1}")
        self.nodes, self.edges = nodes, [tuple(edge) for edge in edges]
        self.attention = SelfAttention(
            dim,
            heads,
            head_dim=head_dim,
            qkv_bias=qkv_bias,
            out_bias=out_bias,
            dropout=dropout,
            out_dropout=out_dropout,
        )
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns which nodes each node sees, (nodes, nodes) bool."""
        seen = torch.eye(self.nodes, dtype=torch.bool)
        for one, other in self.edges:
            seen[one, other] = seen[other, one] = True
        return {"seen": seen}

    def mix(self, x: Tensor, layout: Layout, *, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        """Attends."""
        tokens = x.shape[1]
        if tokens > self.nodes:
            raise UserError(f"there are {tokens} tokens, the graph has {self.nodes} nodes")
        seen = self.seen[:tokens, :tokens]
        return self.attention(x, layout, bias=bias, mask=both(mask, seen))
