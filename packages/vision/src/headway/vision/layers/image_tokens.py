"""From patches to the tokens that a vision transformer reads."""

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.init import truncated_normal_
from headway.core.layout import Layout
from headway.core.module import Module
from headway.core.positions import LearnedPosition


class ImageTokens(Module):
    """Puts class, distillation and register tokens in front of the patches and adds positions.

    Args:
        dim: Channels of a token.
        grid: (H, W) of the patches.
        class_token: Whether a class token comes first.
        distillation_token: Whether a distillation token follows it.
        registers: Register tokens behind those.
        position: Builds the position embedding, ``(dim, grid, prefix)``; none if None (for mixers
            with rotary positions or biases).
        position_on_prefix: Whether the tokens in front have position embeddings, too.
        norm: Builds a norm of the assembled tokens, ``(dim)``; none if None (CLIP has one).
        dropout: Probability of dropping a channel of a token in training.

    Shape:
        x: (B, H * W, dim). Output: (B, prefix + H * W, dim) and its layout.

    Source:
        Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929; distillation token: Touvron et al.
        2020, https://arxiv.org/abs/2012.12877; registers: Darcet et al. 2023,
        https://arxiv.org/abs/2309.16588.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("class_token", "distillation_token", "registers")

    def __init__(
        self,
        dim: int,
        grid: Sequence[int],
        *,
        class_token: bool = True,
        distillation_token: bool = False,
        registers: int = 0,
        position: Callable[[int, Sequence[int], int], nn.Module] | None = LearnedPosition,
        position_on_prefix: bool = True,
        norm: Callable[[int], nn.Module] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()

        def token(number: int) -> nn.Parameter:
            return nn.Parameter(truncated_normal_(torch.empty(1, number, dim)))

        self.class_token = token(1) if class_token else None
        self.distillation_token = token(1) if distillation_token else None
        self.registers = token(registers) if registers else None
        self.prefix = int(class_token) + int(distillation_token) + registers
        self.position_on_prefix = position_on_prefix
        placed = self.prefix if position_on_prefix else 0
        self.position = position(dim, grid, placed) if position is not None else None
        self.norm = norm(dim) if norm is not None else None
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout]:
        """Assembles the tokens of a batch of pictures of one size."""
        whole = layout.replace(prefix=self.prefix)
        if self.position is not None and not self.position_on_prefix:
            x = x + self.position(layout, x.shape[1])
        front = [self.class_token, self.distillation_token, self.registers]
        # Not len(x): that would fix the batch size of an exported graph.
        present = [token.expand(x.shape[0], -1, -1) for token in front if token is not None]
        if present:
            x = torch.cat([*present, x], dim=1)
        if self.position is not None and self.position_on_prefix:
            x = x + self.position(whole, x.shape[1])
        x = self.dropout(x)
        return (self.norm(x) if self.norm is not None else x), whole
