"""NLinear fitted in one step: it is linear, so its best weights are known."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.models.simple import NLinear


def fit_nlinear(
    parts: Sequence[NDArray[np.float64]],
    scaler: Scaler,
    *,
    context_length: int,
    horizon: int,
    ridge: float = 1e-3,
) -> NLinear:
    """Fits NLinear by least squares over all windows of all series.

    Windows with a missing value are left out. The model is made for scaled series, so that none decides
    alone.

    Args:
        parts: The training part of each series.
        scaler: Of the series.
        context_length: Steps that the model reads.
        horizon: Steps that it forecasts.
        ridge: Penalty of the squared weights, as a share of the mean squared input.

    Shape:
        parts: (T,) each, NaN where missing.

    Raises:
        UserError: If the training part has no whole window.
    """
    length = context_length + horizon
    size = context_length + 1
    gram, cross = np.zeros((size, size)), np.zeros((size, horizon))
    found = 0
    # One at a time: all windows of all series would not fit.
    for part, mean, std in zip(parts, scaler.mean, scaler.std, strict=True):
        if len(part) < length:
            continue
        windows = sliding_window_view((part - mean) / std, length)
        windows = windows[~np.isnan(windows).any(axis=1)]
        moved = windows - windows[:, context_length - 1 : context_length]
        x = np.concatenate([moved[:, :context_length], np.ones((len(moved), 1))], axis=1)
        gram += x.T @ x
        cross += x.T @ moved[:, context_length:]
        found += len(windows)
    if not found:
        raise UserError(
            f"the training part has {max(map(len, parts))} rows and no whole window of context_length "
            f"{context_length} + horizon {horizon} = {length} to fit NLinear on; give a longer file, "
            "shorter windows, or --simple naive seasonal"
        )
    penalty = ridge * np.trace(gram) / size * np.eye(size)
    penalty[-1, -1] = 1e-9  # the bias is free
    weights = np.linalg.solve(gram + penalty, cross)
    model = NLinear(context_length=context_length, horizon=horizon)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weights[:-1].T))
        model.head.bias.copy_(torch.from_numpy(weights[-1]))
    return model
