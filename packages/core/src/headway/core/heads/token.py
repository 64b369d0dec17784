"""A head that reads every token."""

from torch import Tensor

from headway.core.dropout import Dropout
from headway.core.heads.classification import classifier
from headway.core.layout import Layout
from headway.core.module import Module


class TokenHead(Module):
    """Maps each token to one logit per class, a vocabulary entry or an action.

    Args:
        dim: Channels of a token.
        num_classes: Logits per token.
        dropout: Probability of dropping a channel in training.

    Shape:
        x: (B, N, dim). Output: (B, N, num_classes).
    """

    def __init__(self, dim: int, num_classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.classifier = classifier(dim, num_classes)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Returns the logits of each token."""
        return self.classifier(self.dropout(x))
