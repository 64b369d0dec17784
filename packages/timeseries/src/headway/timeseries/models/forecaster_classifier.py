"""Classes of whole series, from any forecaster."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.heads.classification import classifier
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.timeseries.layers import zero_unknown
from headway.timeseries.models.base import ForecastingModel
from headway.timeseries.models.probabilistic import ProbabilisticForecaster
from headway.timeseries.models.series_classifier import check_series


class ForecasterClassifier(Module):
    """Reads the class of a series from what a forecaster answers: its forecast is taken for features.

    Both are trained together, so the "steps" of the horizon mean nothing but numbers per series. A series
    that is shorter than the window of the forecaster ends in missing values.

    Args:
        backbone: A forecaster of points without calendar marks; its horizon is the number of features of
            each series.
        features: Values of a step, the series of the forecaster.
        num_classes: Classes.
        dropout: Probability of dropping a feature in training.

    Shape:
        x, mask: (B, T, features), T up to the context length of the backbone. lengths: (B,). Output:
        (B, num_classes).

    Raises:
        UserError: If the backbone is none, or needs marks.
    """

    def __init__(
        self, *, backbone: nn.Module, features: int, num_classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if not isinstance(backbone, ForecastingModel) or isinstance(
            backbone, ProbabilisticForecaster
        ):
            raise UserError(
                f"ForecasterClassifier reads a forecaster of points, got a {type(backbone).__name__}"
            )
        if backbone.marks:
            raise UserError(
                "series with classes have no calendar; build the forecaster with marks=0"
            )
        self.backbone = backbone
        self.features, self.num_classes = features, num_classes
        width = backbone.horizon * features
        self.norm = LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.head = classifier(width, num_classes)

    def forward(
        self, x: Tensor, *, lengths: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Returns the logits.

        Args:
            x: The series; what stands behind their ends and in the place of missing values does not matter.
            lengths: Steps of each right-padded series; None if all are real.
            mask: True where a value was observed; None if all were.
        """
        check_series(self, x, self.features)
        steps, length = x.shape[1], self.context_length
        if steps > length:
            raise UserError(
                f"a series has {steps} steps, the forecaster reads {length}; build it with a context_length "
                f"of {steps}"
            )
        known = mask
        if lengths is not None or steps < length:
            known = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
            ends = lengths if lengths is not None else x.new_full((x.shape[0],), steps)
            known = known & (torch.arange(steps, device=x.device) < ends[:, None])[..., None]
            known = F.pad(known, (0, 0, 0, length - steps))
        x = F.pad(zero_unknown(x, mask, lengths), (0, 0, 0, length - steps))
        features = self.backbone(x, mask=known).flatten(1)
        return self.head(self.dropout(self.norm(features)))

    @property
    def context_length(self) -> int:
        """Steps of the longest series that the model reads."""
        assert isinstance(self.backbone, ForecastingModel)
        return self.backbone.context_length
