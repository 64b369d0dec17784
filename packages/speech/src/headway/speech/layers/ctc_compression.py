"""Neighbours of which CTC says the same become one token."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.heads import TokenHead
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.penalties import Penalised
from headway.core.resample.matching import Groups, join


class CTCCompression(Penalised):
    """A head that says what is heard at each token; neighbours of which it says the same become their mean.

    Nothing is learned through the decision which tokens merge; the head learns by CTC from the texts, beside
    the recogniser (``penalty``). Before it was told what there is to say (``take_tokenizer``) none merge.

    At first it hears the blank everywhere, and all would be one token: neither in training nor in evaluation
    does it merge before ``warmup`` training passes. How many there were goes along with the weights.

    Args:
        dim: Channels of a token.
        warmup: Training passes before tokens merge.
        weight: What the loss of CTC counts beside that of the recogniser.
        dropout: Probability of dropping a channel before the head in training.

    Raises:
        UserError: If the weight is not positive, or the warm-up negative.

    Source:
        Gaido et al. 2021, https://arxiv.org/abs/2102.01578 (the mean of each run, their best).
    """

    def __init__(
        self, dim: int, *, warmup: int = 1000, weight: float = 1.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if weight <= 0 or warmup < 0:
            raise UserError(f"weight {weight} must be positive, warmup {warmup} not negative")
        self.dim, self.warmup, self.weight, self.dropout = dim, warmup, weight, dropout
        self.passes: Tensor
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))
        self.head: TokenHead | None = None
        self.tokenizer: Tokenizer | None = None

    def take_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Is told what there is to say; what was learned of a token moves with it."""
        if self.head is None or self.tokenizer is None:
            self.head = TokenHead(self.dim, len(tokenizer), dropout=self.dropout)
        else:
            renumber(self.head.classifier, self.tokenizer, tokenizer)  # pyright: ignore[reportArgumentType]
        self.tokenizer = tokenizer

    def forward(self, x: Tensor, layout: Layout) -> tuple[Tensor, Layout, Tensor | None]:
        """Returns the tokens that are left, their layout with ``sizes``, and what was said at each before.

        Shape:
            x: (B, N, dim). Output: (B, N', dim), the layout, and logits (B, N, V) or None.
        """
        if self.head is None:
            return x, layout, None
        scores = self.head(x)
        if self.training:
            self.passes += 1
        if int(self.passes) <= self.warmup:
            return x, layout, scores
        merged, after = join(x, layout, self.groups(scores, layout))
        return merged, after, scores

    def groups(self, scores: Tensor, layout: Layout) -> Groups:
        """Returns which tokens become one: neighbours with the same answer.

        Shape:
            scores: (B, N, V).
        """
        labels = scores.argmax(dim=-1)
        begins = torch.ones_like(labels, dtype=torch.bool)
        begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
        real = layout.token_mask(labels.shape[1])
        if real is not None:
            begins = begins & real
        index = (begins.cumsum(dim=1) - 1).clamp_min(0)
        lengths = begins.sum(dim=1)
        return Groups(index=index, reads=index, tokens=int(lengths.max()), lengths=lengths)
