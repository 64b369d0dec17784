"""Losses of hidden tokens, and errors of properties of which some are unknown."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from headway.core.language import Tokenizer
from headway.core.training import Task


def masked(tokens: Tensor, hidden: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Returns tokens with masks where they are hidden."""
    assert tokenizer.mask is not None
    return tokens.masked_fill(hidden, tokenizer.mask)


def hidden_loss(logits: Tensor, tokens: Tensor, hidden: Tensor) -> Tensor:
    """Returns the loss per hidden token; 0 where nothing is hidden."""
    nats = F.cross_entropy(logits.transpose(1, 2).float(), tokens, reduction="none")
    return nats.masked_fill(~hidden, 0.0).sum() / hidden.sum().clamp_min(1)


def log_squares(task: Task, split: str, properties: Sequence[str], off: Tensor) -> None:
    """Logs the mean squared error of each property of which something is known.

    Args:
        task: Logs them.
        split: ``val`` or ``test``.
        properties: Their names.
        off: By how much predictions are off, (B, P); nan where nothing is known.
    """
    for name, column in zip(properties, off.T, strict=True):
        known = column[~column.isnan()]
        if len(known):
            task.log(f"{split}_mse_{name}", known.square().mean(), batch_size=len(known))
