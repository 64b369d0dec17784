"""An actor that reads words, and a memory of those before."""

import torch
from torch import Tensor, nn

from headway.core.init import init_transformer_
from headway.core.module import Module
from headway.core.stacks import Encoder


class MemoryActor(Module):
    """An encoder over a class token, memory tokens and the words of a picture.

    What the class token becomes knows what to do; what the memory tokens become is the memory of the next
    step.

    Args:
        dim: Channels of a token.
        words: Size of the vocabulary.
        depth: Blocks.
        heads: Heads of attention.
        tokens: Words of a picture.
        memory_tokens: How many; 0 forgets at every step.
    """

    def __init__(
        self,
        dim: int,
        *,
        words: int,
        depth: int,
        heads: int,
        tokens: int,
        memory_tokens: int = 1,
    ) -> None:
        super().__init__()
        self.memory_tokens = memory_tokens
        self.embed = nn.Embedding(words, dim)
        self.first = nn.Parameter(0.02 * torch.randn(memory_tokens, dim))
        self.slots = nn.Parameter(0.02 * torch.randn(1 + memory_tokens + tokens, dim))
        self.encoder = Encoder(dim, depth, heads)
        self.value = nn.Linear(dim, 1)
        init_transformer_(self)

    def first_memory(self, batch: int) -> Tensor:
        """Returns the memory in front of an episode, (B, M, dim)."""
        return self.first.expand(batch, -1, -1)

    def forward(self, words: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what is known of what to do (B, dim), and the next memory (B, M, dim).

        Args:
            words: Tokens of a picture, (B, tokens, dim).
            memory: (B, M, dim).
        """
        begin = torch.zeros_like(words[:, :1])
        x = torch.cat([begin, memory, words], dim=1) + self.slots
        x = self.encoder(x)[0]
        return x[:, 0], x[:, 1 : 1 + self.memory_tokens]
