"""The scores of a forecasting task, averaged over known values."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from headway.core.heads import StudentT
from headway.timeseries.metrics import coverage, crps_from_quantiles, interval_levels, pinball
from headway.timeseries.models.probabilistic import LEVELS, point_forecast, quantile_forecast

# Percent of the interval whose coverage is logged.
INTERVAL = 80
KINDS = (
    "mse",
    "mae",
    "mse_original",
    "mae_original",
    "smape",
    "mase",
    "crps",
    "crps_original",
    "wql",
    f"coverage_{INTERVAL}",
)


def known_mean(values: Tensor, mask: Tensor | None, weights: Tensor | None = None) -> Any:
    """Returns the mean over known values, and what it weighs.

    Args:
        values: Finite where known.
        mask: True where known; None if all are.
        weights: Of the values; 1 if None.

    Shape:
        All: (B, H, N). Output: (), ().
    """
    weight = torch.ones_like(values) if weights is None else weights.expand_as(values)
    if mask is not None:
        # Not a product: what stands in the place of a missing value may be NaN.
        values, weight = values.masked_fill(~mask, 0.0), weight.masked_fill(~mask, 0.0)
    total = weight.sum()
    return (values * weight).sum() / total.clamp_min(torch.finfo(total.dtype).tiny), total


def scores(
    answer: Any, batch: Mapping[str, Tensor], quantiles: Sequence[float] | None
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Gives name, mean and weight of every score that can be taken of a batch.

    Scores of scaled values have bare names; ``_original`` are in the units of the series, and so are
    ``smape`` and ``wql``, which have none. ``mase`` needs the errors of the seasonal naive forecast in the
    batch, quantile scores a model that gives quantiles.

    Args:
        answer: Of the forecaster.
        batch: With ``y``, and where there are such ``y_mask``, ``centre``, ``scale`` and ``seasonal``.
        quantiles: Levels of the forecaster's quantiles, None if it has none.
    """
    mask = batch.get("y_mask")
    y = batch["y"] if mask is None else batch["y"].masked_fill(~mask, 0.0)
    point = point_forecast(answer, quantiles)
    squared, absolute = torch.square(point - y), (point - y).abs()
    yield "mse", *known_mean(squared, mask)
    yield "mae", *known_mean(absolute, mask)
    scale = batch.get("scale")
    size = None
    tiny = torch.finfo(torch.float32).tiny
    if scale is not None:
        scale = scale.double()  # squares of large units leave the range of single precision
        yield "mse_original", *known_mean(squared * scale.square(), mask)
        yield "mae_original", *known_mean(absolute * scale, mask)
        value, said = (part * scale + batch["centre"] for part in (y, point))
        size = value.abs()
        ratio = 2 * absolute * scale / (size + said.abs()).clamp_min(tiny)
        yield "smape", *known_mean(ratio, mask)
    if "seasonal" in batch:
        error = batch["seasonal"].expand_as(absolute)
        # A series that never changed from one period to the next has no MASE.
        usable = (error > 0) if mask is None else mask & (error > 0)
        yield "mase", *known_mean(absolute / error.clamp_min(1e-12), usable)
    if quantiles is None and not isinstance(answer, StudentT):
        return
    levels = tuple(quantiles) if quantiles is not None else LEVELS
    crps = crps_from_quantiles(y, quantile_forecast(answer, quantiles, levels), levels)
    yield "crps", *known_mean(crps, mask)
    if scale is not None and size is not None:
        yield "crps_original", *known_mean(crps * scale, mask)
        # Summed losses over summed sizes: a mean of ratios, weighted by size.
        size = size.clamp_min(tiny)
        loss = 2 * pinball(y, quantile_forecast(answer, quantiles, levels), levels).mean(dim=-1)
        yield "wql", *known_mean(loss * scale / size, mask, size)
    ends = interval_levels(INTERVAL)
    if quantiles is None or (quantiles[0] <= ends[0] and ends[1] <= quantiles[-1]):
        lower, upper = quantile_forecast(answer, quantiles, ends).unbind(dim=-1)
        yield f"coverage_{INTERVAL}", *known_mean(coverage(y, lower, upper), mask)
