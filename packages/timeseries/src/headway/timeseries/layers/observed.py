"""What the observed values of a window tell, whatever stands in the place of missing ones."""

import torch
from torch import Tensor

from headway.core.layout import Layout


def observed_statistics(x: Tensor, mask: Tensor | None, eps: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of each series over time; 0 and ``sqrt(eps)`` without values.

    Args:
        x: Windows.
        mask: True where a value was observed; None if all were.
        eps: Added to the variance.

    Shape:
        x, mask: (B, L, N). Output: (B, 1, N) each.
    """
    if mask is None:
        mean = x.mean(dim=1, keepdim=True)
        return mean, torch.sqrt((x - mean).square().mean(dim=1, keepdim=True) + eps)
    count = mask.sum(dim=1, keepdim=True).clamp_min(1)
    mean = x.masked_fill(~mask, 0.0).sum(dim=1, keepdim=True) / count
    centred = (x - mean).masked_fill(~mask, 0.0)
    return mean, torch.sqrt(centred.square().sum(dim=1, keepdim=True) / count + eps)


def last_observed(x: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the last observed value of each series, 0 where there is none.

    Shape:
        x, mask: (B, L, N). Output: (B, 1, N).
    """
    if mask is None:
        return x[:, -1:]
    steps = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
    place = (mask * steps).amax(dim=1, keepdim=True)
    found = x.gather(1, (place - 1).clamp_min(0))
    return found.masked_fill(place == 0, 0.0)


def interpolated(x: Tensor, mask: Tensor) -> Tensor:
    """Returns the windows with straight lines between observed values.

    Before the first observed value of a series it is repeated, behind the last one that is; a series
    without any is 0.

    Shape:
        x, mask: (B, L, N). Output: the same.
    """
    length = x.shape[1]
    steps = torch.arange(length, device=x.device)[:, None]
    before = torch.where(mask, steps, -1).cummax(dim=1).values
    after = torch.where(mask, steps, length).flip(1).cummin(dim=1).values.flip(1)
    # At an end there is one neighbour alone, which then stands on both sides.
    left = torch.where(before < 0, after, before)
    right = torch.where(after == length, before, after)
    x = x.masked_fill(~mask, 0.0)
    last = length - 1
    start, end = (x.gather(1, place.clamp(0, last)) for place in (left, right))
    share = (steps - left).to(x.dtype) / (right - left).clamp_min(1)
    line = start + share * (end - start)
    return torch.where(mask, x, line).masked_fill(~mask.any(dim=1, keepdim=True), 0.0)


def zero_unknown(x: Tensor, mask: Tensor | None, lengths: Tensor | None) -> Tensor:
    """Returns series with zeros where a value is missing and behind their ends.

    Args:
        x: Series; what stands in the place of missing values and padding does not matter.
        mask: True where a value was observed; None if all were.
        lengths: Steps of each series; None if all are real.

    Shape:
        x, mask: (B, T, N). lengths: (B,).
    """
    if mask is not None:
        x = x.masked_fill(~mask, 0.0)
    if lengths is None:
        return x
    real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return x.masked_fill(~real[..., None], 0.0)


def series_layout(mask: Tensor | None, others: int = 0) -> Layout:
    """Returns the layout of series as tokens: one without any value is padding.

    Args:
        mask: True where a value was observed; None if all were.
        others: Tokens behind the series that always have something to say.

    Shape:
        mask: (B, L, N).
    """
    if mask is None:
        return Layout()
    seen = mask.any(dim=1)
    if others:
        seen = torch.cat([seen, seen.new_ones(seen.shape[0], others)], dim=1)
    return Layout(valid=seen)
