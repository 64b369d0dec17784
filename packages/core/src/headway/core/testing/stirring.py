"""Models that are not where they start, so that no part hides behind zeros, ones or equal blocks."""

import torch
from torch import nn


def stir_(model: nn.Module, *, but: tuple[str, ...] = ()) -> None:
    """Moves all weights, and running statistics of norms, away from where they start, in place.

    Args:
        model: The model.
        but: Endings of the names of weights that stay.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.endswith(but):
                parameter.add_(0.05 * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if "running_var" in name:
                buffer.uniform_(0.5, 1.5)
            elif "running_mean" in name or ("norm" in name and buffer.is_floating_point()):
                buffer.add_(0.1 * torch.randn_like(buffer))
