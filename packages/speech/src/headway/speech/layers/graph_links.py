"""Transitions between the vertices of a graph: forward only, by queries and keys."""

import torch
from torch import Tensor, nn

from headway.core.mixers.base import check_heads
from headway.core.module import Module
from headway.speech.layers.alignment import NEVER
from headway.speech.layers.padding import mask_of


class GraphLinks(Module):
    """Says how likely a path goes on from each vertex to each later one: a mixture of attentions.

    Args:
        dim: Channels of a vertex, and of what tells where it is.
        heads: Attentions; a gate of each vertex weighs them.

    Shape:
        x, places: (B, V, dim). lengths: (B,). Output: log-probabilities (B, V, V); those of the last vertex,
        and of what is none, are about ``NEVER``.

    Raises:
        UserError: If the heads do not divide ``dim``.

    Source:
        Huang et al. 2022 (DA-Transformer), https://arxiv.org/abs/2205.07459, section 3.1, and its code.
    """

    def __init__(self, dim: int, *, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, check_heads(dim, heads, None)
        self.query, self.key = nn.Linear(2 * dim, dim), nn.Linear(2 * dim, dim)
        self.gate = nn.Linear(2 * dim, heads)

    def forward(self, x: Tensor, places: Tensor, lengths: Tensor) -> Tensor:
        """Returns the transitions."""
        both = torch.cat((x, places), dim=2)
        query, key = (
            layer(both).unflatten(2, (self.heads, self.head_dim)).transpose(1, 2)
            for layer in (self.query, self.key)
        )
        dtype = torch.promote_types(x.dtype, torch.float32)
        scores = (query.to(dtype) @ key.to(dtype).mT) * self.head_dim**-0.5
        allowed = forward_links(lengths, x.shape[1])[:, None]
        each = scores.masked_fill(~allowed, NEVER).log_softmax(dim=3)
        gates = self.gate(both).to(dtype).log_softmax(dim=2).transpose(1, 2)
        links = (each + gates[..., None]).logsumexp(dim=1)
        return links.masked_fill(~allowed[:, 0], NEVER)


def forward_links(lengths: Tensor, width: int) -> Tensor:
    """Returns which vertices may follow which, (B, width, width): all later ones that there are."""
    ahead = torch.ones(width, width, dtype=torch.bool, device=lengths.device).triu(1)
    return ahead & mask_of(lengths, width)[:, None]
