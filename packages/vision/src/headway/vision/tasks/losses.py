"""The losses of classification, for hard labels, mixed targets and several labels at once."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module


class ClassificationLoss(Module):
    """Cross entropy, or one binary cross entropy per class.

    Args:
        kind: ``cross_entropy``, or ``binary`` (DeiT III; the only one for several labels).
        label_smoothing: Share of the target that is spread evenly.
        class_weights: Weight of each class; for ``binary`` of its positive term.

    Raises:
        UserError: If a value is outside its range.
    """

    weights: Tensor | None

    def __init__(
        self,
        *,
        kind: Literal["cross_entropy", "binary"] = "cross_entropy",
        label_smoothing: float = 0.0,
        class_weights: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        if kind not in ("cross_entropy", "binary"):
            raise UserError(f"loss {kind!r} is neither cross_entropy nor binary")
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing {label_smoothing} is outside [0, 1)")
        if class_weights is not None and min(class_weights) <= 0:
            raise UserError(f"class_weights {class_weights} must all be positive")
        self.kind = kind
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights
        self.register_buffer("weights", None, persistent=False)
        self.register_constants()

    def constants(self) -> dict[str, Tensor]:
        """Returns the weights of the classes."""
        given = self.class_weights
        return {} if given is None else {"weights": torch.tensor(given, dtype=torch.float32)}

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the mean loss.

        Shape:
            logits: (B, K). targets: (B,) class indices or (B, K) probabilities.
        """
        logits = logits.float()
        if self.kind == "cross_entropy":
            return F.cross_entropy(
                logits, targets, weight=self.weights, label_smoothing=self.label_smoothing
            )
        if targets.ndim == 1:
            targets = F.one_hot(targets, logits.shape[-1])
        targets = targets.to(logits)
        smoothed = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smoothed, pos_weight=self.weights)
