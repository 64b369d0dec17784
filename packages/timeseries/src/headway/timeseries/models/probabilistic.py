"""Quantiles and distributions from any forecaster: its forecast, and learned distances from it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.heads import QuantileHead, StudentT, StudentTHead
from headway.timeseries.layers import WindowNorm
from headway.timeseries.models.base import ForecastingModel

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class ProbabilisticForecaster(ForecastingModel):
    """A forecaster with a head that says how far from its forecast the values may lie.

    The head reads the window of a series and the forecast of it, both scaled by the window, and answers in
    widths of the window; so shift and scale of a series shift and scale its answer, and any number of
    series may come. It starts with the forecast as median and about the width of the window; both are
    trained together.

    Args:
        backbone: Any forecaster of points.
        hidden: Channels of the head.

    Shape:
        As the backbone; the output depends on the head.
    """

    def __init__(self, *, backbone: nn.Module, hidden: int) -> None:
        if not isinstance(backbone, ForecastingModel) or isinstance(
            backbone, ProbabilisticForecaster
        ):
            raise UserError(
                f"{type(self).__name__} wraps a forecaster of points, got a {type(backbone).__name__}"
            )
        super().__init__(context_length=backbone.context_length, horizon=backbone.horizon)
        self.backbone = backbone
        self.hidden = hidden
        self.normalization = WindowNorm()
        self.body = nn.Linear(self.context_length + self.horizon, hidden)
        self.head = self._new_head()
        self.covariates = backbone.covariates

    @abstractmethod
    def _new_head(self) -> nn.Module:
        """Returns the head, from ``hidden`` channels to the horizon."""

    @abstractmethod
    def _answer(self, forecast: Tensor, scale: Tensor, tokens: Tensor) -> Any:
        """Puts forecast (B, H, N), width of the windows (B, 1, N) and what the head reads together."""

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        marks: Tensor | None = None,
        future_marks: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Any:
        """Returns the probabilistic forecast."""
        forecast = self.backbone(
            x, mask=mask, marks=marks, future_marks=future_marks, static=static
        )
        window, (centre, scale) = self.normalization(x, mask)
        # The head learns distances from the forecast, not the forecast.
        ahead = (forecast.detach() - centre) / scale
        tokens = nn.functional.gelu(self.body(torch.cat([window, ahead], dim=1).transpose(1, 2)))
        return self._answer(forecast, scale, tokens)

    def set_horizon(self, horizon: int) -> None:
        """Forecasts another number of steps from now on, with a new head."""
        super().set_horizon(horizon)
        del self.init_args["horizon"]  # an argument of the backbone
        assert isinstance(self.backbone, ForecastingModel)
        self.backbone.set_horizon(horizon)
        old = self.body.weight
        self.body = nn.Linear(self.context_length + horizon, self.hidden).to(old.device, old.dtype)
        self.head = self._new_head().to(old.device, old.dtype)


class QuantileForecaster(ProbabilisticForecaster):
    """Quantiles that never cross, around the forecast of any forecaster.

    Args:
        backbone: Any forecaster of points.
        quantiles: Levels in (0, 1), rising.
        hidden: Channels of the head.

    Shape:
        Output: (B, horizon, N, quantiles).
    """

    def __init__(
        self, *, backbone: nn.Module, quantiles: Sequence[float] = LEVELS, hidden: int = 64
    ) -> None:
        self.levels = tuple(quantiles)
        super().__init__(backbone=backbone, hidden=hidden)
        self.quantiles = self.levels

    def _new_head(self) -> nn.Module:
        head = QuantileHead(self.hidden, self.horizon, quantiles=self.levels)
        normal = torch.special.ndtri(torch.tensor(self.levels, dtype=torch.float64))
        # The inverse of the head's softplus between quantiles.
        start = torch.cat([normal[:1], torch.log(torch.expm1(normal.diff()))])
        with torch.no_grad():
            head.projection.weight.zero_()
            head.projection.bias.copy_(start.repeat(self.horizon))
        return head

    def _answer(self, forecast: Tensor, scale: Tensor, tokens: Tensor) -> Tensor:
        distance = self.head(tokens).transpose(1, 2)
        return forecast[..., None] + scale[..., None] * distance


class StudentTForecaster(ProbabilisticForecaster):
    """Student's t-distributions around the forecast of any forecaster.

    Args:
        backbone: Any forecaster of points.
        hidden: Channels of the head.

    Shape:
        Output: ``StudentT`` of (B, horizon, N).
    """

    def __init__(self, *, backbone: nn.Module, hidden: int = 64) -> None:
        super().__init__(backbone=backbone, hidden=hidden)

    def _new_head(self) -> nn.Module:
        head = StudentTHead(self.hidden, self.horizon)
        with torch.no_grad():
            head.projection.weight.zero_()
            head.projection.bias.zero_()
        return head

    def _answer(self, forecast: Tensor, scale: Tensor, tokens: Tensor) -> StudentT:
        df, loc, width = (part.transpose(1, 2) for part in self.head(tokens))
        return StudentT(df, forecast + scale * loc, scale * width)


def point_forecast(answer: Any, quantiles: Sequence[float] | None) -> Tensor:
    """Returns one value of each step from whatever a forecaster answers: the median, if it has one.

    Args:
        answer: Of a forecaster.
        quantiles: Levels of its quantiles, if it has some.

    Shape:
        Output: (B, H, N).
    """
    if isinstance(answer, StudentT):
        return answer.loc
    if quantiles is None:
        return answer
    return quantile_forecast(answer, quantiles, (0.5,))[..., 0]


def quantile_forecast(
    answer: Any, quantiles: Sequence[float] | None, levels: Sequence[float]
) -> Tensor:
    """Returns quantiles at any levels; between the model's own ones they lie on straight lines.

    Args:
        answer: Of a forecaster.
        quantiles: Levels of its quantiles, if it has some.
        levels: What is wanted, in (0, 1).

    Shape:
        Output: (B, H, N, levels).

    Raises:
        UserError: If the answer has no quantiles, or none as far out as wanted.
    """
    if isinstance(answer, StudentT):
        return answer.quantiles(levels)
    if quantiles is None:
        raise UserError(
            "a forecast of points has no quantiles; wrap the model in QuantileForecaster or "
            "StudentTForecaster"
        )
    own = torch.as_tensor(list(quantiles), dtype=torch.float64)
    wanted = torch.as_tensor(list(levels), dtype=torch.float64)
    if wanted.min() < own[0] - 1e-9 or wanted.max() > own[-1] + 1e-9:
        raise UserError(
            f"the model's quantiles reach from {own[0]:g} to {own[-1]:g}, asked were "
            f"{', '.join(f'{level:g}' for level in levels)}; train with quantiles that reach as far"
        )
    right = torch.searchsorted(own, wanted.clamp(own[0], own[-1])).clamp(1, max(len(own) - 1, 1))
    if len(own) == 1:
        return answer.expand(*answer.shape[:-1], len(wanted))
    share = ((wanted - own[right - 1]) / (own[right] - own[right - 1])).clamp(0, 1).to(answer)
    right = right.to(answer.device)
    return answer[..., right - 1] * (1 - share) + answer[..., right] * share
