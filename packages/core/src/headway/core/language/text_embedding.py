"""How the tokens of a text become vectors."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.init import truncated_normal_
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.positions import PositionTable


class TextEmbedding(Module):
    """What a token is, where it stands, and of which segment the text is: a sum, and a norm of it.

    Args:
        size: Tokens of the vocabulary.
        dim: Channels of a token.
        length: Most tokens of a text.
        position: Builds the table of places, ``(dim, length)``; none if None (the mixers know).
        first: Place of the first token; RoBERTa counts from behind its padding token.
        segments: Kinds of text that the table of segments has; every text is of the first kind. None for 0.
        norm: Builds the norm of the sum, ``(dim)``; none if None.
        dropout: Probability of dropping a channel in training.

    Shape:
        tokens: (B, T) int64. Output: (B, T, dim).

    Source:
        Devlin et al. 2018, https://arxiv.org/abs/1810.04805, section 3, figure 2.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("segment",)

    def __init__(
        self,
        size: int,
        dim: int,
        length: int,
        *,
        position: Callable[[int, int], PositionTable] | None = PositionTable,
        first: int = 0,
        segments: int = 0,
        norm: Callable[[int], nn.Module] | None = LayerNorm,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.first = first
        self.token = nn.Embedding(size, dim)
        truncated_normal_(self.token.weight)
        self.position = position(dim, length + first) if position is not None else None
        self.segment = None
        if segments:
            self.segment = nn.Parameter(truncated_normal_(torch.empty(segments, dim)))
        self.norm = norm(dim) if norm is not None else None
        self.dropout = Dropout(dropout)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the vectors.

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row; all if None.
        """
        x = self.embedded(tokens, lengths)
        if self.position is not None:
            x = x + self.position(self._places(tokens, self.position))
        if self.segment is not None:
            x = x + self.segment[0]
        return self.dropout(self.norm(x) if self.norm is not None else x)

    def embedded(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """Returns what the tokens are."""
        return self.token(tokens)

    def cut(self, length: int) -> None:
        """Forgets the places behind ``length``.

        Raises:
            UserError: If there are fewer: nothing was learned about more.
        """
        if self.position is None:
            return
        if length > self.places:
            raise UserError(
                f"max_length {length} is more than the {self.places} learned positions of the model; leave "
                "out what is longer, or take a model with more"
            )
        self.position.cut(length + self.first)

    @property
    def places(self) -> int:
        """Places that were learned."""
        return 0 if self.position is None else self.position.length - self.first

    def _places(self, tokens: Tensor, table: PositionTable) -> Tensor:
        count = tokens.shape[1]
        if isinstance(count, int) and count > self.places:
            raise UserError(
                f"a text of {count} tokens is longer than the {self.places} learned positions of the model; "
                "leave it out, or take a model with more"
            )
        return torch.arange(count, device=tokens.device) + self.first


class MaskScaledEmbedding(TextEmbedding):
    """Hidden tokens are zeros, and the others are scaled as dropout scales what it leaves.

    Args:
        size: As of every ``TextEmbedding``.
        dim: As of every ``TextEmbedding``.
        length: As of every ``TextEmbedding``.
        mask: Number of the token that stands for what is hidden.
        hidden: Share of the tokens that were hidden in training; a text without any is scaled by the rest.
        dropout: As of every ``TextEmbedding``.

    Source:
        Lin et al. 2023 (ESM-2), https://doi.org/10.1126/science.ade2574; "token dropout" of the released
        models, https://github.com/facebookresearch/esm (MIT).
    """

    def __init__(
        self,
        size: int,
        dim: int,
        length: int,
        *,
        mask: int,
        hidden: float = 0.15 * 0.8,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(size, dim, length, position=None, norm=None, dropout=dropout)
        self.mask, self.hidden = mask, hidden

    def embedded(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """Returns what the tokens are, scaled."""
        masked = tokens == self.mask
        if lengths is not None:
            places = torch.arange(tokens.shape[1], device=tokens.device)
            masked = masked & (places < lengths[:, None])
        x = self.token(tokens).masked_fill(masked[..., None], 0.0)
        count = tokens.shape[1] if lengths is None else lengths.clamp_min(1)
        shown = 1 - masked.sum(dim=1) / count
        return x * ((1 - self.hidden) / shown)[:, None, None].to(x.dtype)
