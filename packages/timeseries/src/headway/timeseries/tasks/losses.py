"""What a forecaster is trained to make small; each loss says which answers it can read."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.heads import StudentT
from headway.timeseries.metrics import pinball


class ForecastLoss(ABC):
    """A loss of each value; the task averages it over known values."""

    @abstractmethod
    def __call__(self, answer: Any, y: Tensor, quantiles: Sequence[float] | None) -> Tensor:
        """Returns the loss of each value.

        Args:
            answer: Of the forecaster.
            y: What came; finite also where it is unknown.
            quantiles: Levels of the forecaster's quantiles, None if it has none.

        Shape:
            y: (B, H, N). Output: (B, H, N).

        Raises:
            UserError: If the forecaster gives another kind of answer.
        """


class SquaredError(ForecastLoss):
    """The squared error of points."""

    def __call__(self, answer: Any, y: Tensor, quantiles: Sequence[float] | None) -> Tensor:
        """Returns the squared errors."""
        return torch.square(_points(self, answer, quantiles) - y)


class AbsoluteError(ForecastLoss):
    """The absolute error of points."""

    def __call__(self, answer: Any, y: Tensor, quantiles: Sequence[float] | None) -> Tensor:
        """Returns the absolute errors."""
        return (_points(self, answer, quantiles) - y).abs()


class QuantileLoss(ForecastLoss):
    """The quantile loss, averaged over the levels.

    Args:
        weights: Of each level; all alike if None.
    """

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        if weights is not None and (min(weights) < 0 or sum(weights) <= 0):
            raise UserError(f"weights of quantiles are at least 0 and not all 0, got {weights}")
        self.weights = None if weights is None else tuple(weights)

    def __call__(self, answer: Any, y: Tensor, quantiles: Sequence[float] | None) -> Tensor:
        """Returns the quantile losses."""
        if quantiles is None or isinstance(answer, StudentT):
            raise UserError(
                "QuantileLoss needs a model that gives quantiles; put QuantileForecaster around it"
            )
        losses = pinball(y, answer, quantiles)
        if self.weights is None:
            return losses.mean(dim=-1)
        if len(self.weights) != len(quantiles):
            raise UserError(
                f"QuantileLoss has {len(self.weights)} weights, the model {len(quantiles)} quantiles; "
                "give one weight for each"
            )
        weights = torch.tensor(self.weights, dtype=losses.dtype, device=losses.device)
        return (losses * (weights / weights.sum())).sum(dim=-1)


class StudentTLoss(ForecastLoss):
    """The negative log-likelihood of Student's t."""

    def __call__(self, answer: Any, y: Tensor, quantiles: Sequence[float] | None) -> Tensor:
        """Returns the negative log-likelihoods."""
        if not isinstance(answer, StudentT):
            raise UserError(
                "StudentTLoss needs a model that gives Student's t; put StudentTForecaster around it"
            )
        return -answer.log_prob(y)


class FittingLoss(ForecastLoss):
    """The loss that fits the answer: squared error, quantile loss, or negative log-likelihood."""

    def __call__(self, answer: Any, y: Tensor, quantiles: Sequence[float] | None) -> Tensor:
        """Returns the loss of each value."""
        if isinstance(answer, StudentT):
            return StudentTLoss()(answer, y, quantiles)
        return (SquaredError() if quantiles is None else QuantileLoss())(answer, y, quantiles)


def _points(loss: ForecastLoss, answer: Any, quantiles: Sequence[float] | None) -> Tensor:
    if isinstance(answer, StudentT) or quantiles is not None:
        raise UserError(
            f"{type(loss).__name__} needs a model that gives points, this one gives "
            f"{'quantiles' if quantiles is not None else 'a distribution'}; leave the loss out"
        )
    return answer
