"""Forecasters that answer with the window itself instead of its future."""

from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.timeseries.models.base import ForecastingModel
from headway.timeseries.models.probabilistic import point_forecast


def reconstruct(
    model: nn.Module, x: Tensor, *, mask: Tensor | None = None, marks: Tensor | None = None
) -> Tensor:
    """Returns what a forecaster says about the steps that it reads.

    Any forecaster whose horizon is the length of its window can be trained for it: the steps that it is
    asked for are those of the window, and so are their marks.

    Args:
        model: The forecaster.
        x: The windows.
        mask: True where a value may be read; None if all may.
        marks: Calendar marks of the windows.

    Shape:
        x, mask: (B, L, N). marks: (B, L, M). Output: (B, L, N).
    """
    ask: Any = model
    answer = ask(x, mask=mask, marks=marks, future_marks=marks, static=None)
    return point_forecast(answer, getattr(model, "quantiles", None))


def check_reconstructs(model: nn.Module, length: int | None = None) -> None:
    """Raises if a model cannot answer with the window that it reads.

    Args:
        model: Any.
        length: Steps of the windows of the data; not compared if None.

    Raises:
        UserError: If it is no forecaster, or its horizon is not the length of its window.
    """
    name = type(model).__name__
    if not isinstance(model, ForecastingModel):
        raise UserError(f"windows are reconstructed by a forecaster, got a {name}")
    if model.horizon != model.context_length:
        raise UserError(
            f"this {name} reads {model.context_length} steps and answers with {model.horizon}; to "
            f"reconstruct windows set its horizon to {model.context_length}, its context_length"
        )
    if length is not None and length != model.context_length:
        raise UserError(
            f"the data have windows of {length} steps, the model reads {model.context_length}; set the "
            f"model's context_length and horizon to {length}, or leave data.context_length out"
        )
