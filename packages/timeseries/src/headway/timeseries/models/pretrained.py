"""Trained weights for a forecaster: from a run, a folder or a file."""

from typing import Any

from headway.core.errors import UserError
from headway.core.weights.pretrained import from_pretrained
from headway.timeseries.models.base import ForecastingModel


def pretrained(
    source: str, *, horizon: int | None = None, heads: int | None = None
) -> ForecastingModel:
    """Loads a forecaster for fine-tuning; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        horizon: Steps to forecast; as trained if None.
        heads: Heads of the mixers, for a file of tensors that does not tell.

    Raises:
        UserError: If the source holds no forecaster.
    """
    wishes: dict[str, Any] = {"horizon": horizon, "heads": heads}
    model = from_pretrained(
        source, **{name: value for name, value in wishes.items() if value is not None}
    )
    if not isinstance(model, ForecastingModel):
        raise UserError(f"{source} holds a {type(model).__name__}, which is no forecaster")
    return model
