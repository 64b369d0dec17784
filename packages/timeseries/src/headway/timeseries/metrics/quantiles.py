"""Scores of quantiles and samples."""

from collections.abc import Sequence

import torch
from torch import Tensor


def pinball(y: Tensor, quantiles: Tensor, levels: Sequence[float]) -> Tensor:
    """Returns the quantile loss of each level, in the units of ``y``.

    Its mean is least when a share ``level`` of the values lies below the quantile; at 0.5 it is half the
    absolute error.

    Args:
        y: What came.
        quantiles: What was said.
        levels: In (0, 1), one for each quantile.

    Shape:
        y: (...). quantiles: (..., Q). Output: (..., Q).

    Source:
        Koenker and Bassett 1978, https://doi.org/10.2307/1913643.
    """
    level = torch.as_tensor(list(levels), dtype=quantiles.dtype, device=quantiles.device)
    missed = y[..., None] - quantiles
    return torch.maximum(level * missed, (level - 1) * missed)


def level_weights(levels: Sequence[float]) -> Tensor:
    """Returns the share of (0, 1) that is nearest to each level; equal ones for an even grid's middle.

    Shape:
        Output: (Q,), adds to 1.
    """
    level = torch.as_tensor(list(levels), dtype=torch.float64)
    between = (level[1:] + level[:-1]) / 2
    ends = torch.cat([level.new_zeros(1), between, level.new_ones(1)])
    return ends.diff()


def crps_from_quantiles(y: Tensor, quantiles: Tensor, levels: Sequence[float]) -> Tensor:
    """Returns the continuous ranked probability score, in the units of ``y``; lower is better.

    The score is twice the quantile loss averaged over all levels; each given level stands for those
    nearest to it.

    Shape:
        y: (...). quantiles: (..., Q). Output: (...).

    Source:
        Laio and Tamea 2007, https://doi.org/10.5194/hess-11-1267-2007, equation 7.
    """
    weights = level_weights(levels).to(quantiles)
    return 2 * (pinball(y, quantiles, levels) * weights).sum(dim=-1)


def crps_from_samples(y: Tensor, samples: Tensor) -> Tensor:
    """Returns the continuous ranked probability score of an ensemble, in the units of ``y``.

    It is the mean distance to what came minus half the mean distance of two members, all pairs counted.

    Args:
        y: What came.
        samples: Forecasts that are equally likely.

    Shape:
        y: (...). samples: (..., S). Output: (...).

    Source:
        Gneiting and Raftery 2007, https://doi.org/10.1198/016214506000001437, equation 21.
    """
    number = samples.shape[-1]
    distance = (samples - y[..., None]).abs().mean(dim=-1)
    # The distances of all pairs from the sorted members: member i is the larger one i times.
    place = torch.arange(number, device=samples.device, dtype=samples.dtype)
    pairs = (samples.sort(dim=-1).values * (2 * place - number + 1)).sum(dim=-1)
    return distance - pairs / number**2
