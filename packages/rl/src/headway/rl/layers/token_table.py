"""One vocabulary for numbers that have tokens of their own each."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.module import Module


class TokenTable(Module):
    """Embeds tokens of numbers that follow each other, and says the logits of each number's tokens.

    Args:
        dim: Channels of a token.
        sizes: How many tokens each number has.
    """

    def __init__(self, dim: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.embedding = nn.Embedding(sum(self.sizes), dim)
        self.places = nn.Parameter(0.02 * torch.randn(len(self.sizes), dim))
        self.head = nn.Linear(dim, sum(self.sizes))

    def embed(self, tokens: Tensor, first: int = 0) -> Tensor:
        """Returns vectors (..., K, dim), without places, of tokens (..., K) of numbers from ``first`` on."""
        starts = torch.tensor([0, *self.sizes[:-1]], device=tokens.device).cumsum(0)
        return self.embedding(tokens + starts[first : first + tokens.shape[-1]])

    def logits(self, features: Tensor, number: int) -> Tensor:
        """Returns one answer for each token of a number, (..., size)."""
        start, size = sum(self.sizes[:number]), self.sizes[number]
        rows = slice(start, start + size)
        return F.linear(features, self.head.weight[rows], self.head.bias[rows])
