"""The classification head."""

from collections.abc import Callable

from torch import Tensor, nn

from headway.core.dropout import Dropout
from headway.core.heads.pooling import PoolingLayer, TokenPooling
from headway.core.init import truncated_normal_
from headway.core.layout import Layout
from headway.core.module import Module


class ClassificationHead(Module):
    """Pools the tokens of an item and maps the vector to one logit per class.

    Args:
        dim: Channels of a token.
        num_classes: Classes; with 0 the head returns the pooled vector.
        pooling: Builds the pooling, ``(dim)``.
        norm: Builds a norm of the pooled vector, ``(dim)``; none if None.
        dropout: Probability of dropping a pooled channel in training.

    Shape:
        x: (B, N, dim). Output: (B, num_classes), or (B, dim).
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        pooling: Callable[[int], PoolingLayer] = TokenPooling,
        norm: Callable[[int], nn.Module] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pooling = pooling(dim)
        self.norm = norm(self.pooling.width) if norm is not None else None
        self.dropout = Dropout(dropout)
        self.classifier = classifier(self.pooling.width, num_classes)

    def pool(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Returns the pooled, normalised vector before the classifier."""
        pooled = self.pooling(x, layout)
        return self.dropout(self.norm(pooled) if self.norm is not None else pooled)

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Returns the logits."""
        return self.classifier(self.pool(x, layout))

    def reset(self, num_classes: int) -> None:
        """Replaces the classifier by a new one, on the same device."""
        old = next(self.classifier.parameters(), None)
        self.classifier = classifier(self.pooling.width, num_classes)
        if old is not None:
            self.classifier.to(old.device, old.dtype)


def classifier(dim: int, num_classes: int) -> nn.Module:
    """Returns a linear classifier with small weights and zero bias, or nothing for 0 classes."""
    if num_classes == 0:
        return nn.Identity()
    linear = nn.Linear(dim, num_classes)
    truncated_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
