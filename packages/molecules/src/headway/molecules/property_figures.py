"""Pictures of predicted properties."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headway.core.figures import new_figure
from headway.molecules.metrics import property_scores
from headway.molecules.models.property_predictor import CLASSIFICATION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12


def properties_figure(answers: Tensor, labels: Tensor, properties: Mapping[str, str]) -> "Figure":
    """Draws answers against labels of numbers, and the ROC of classes, of the first ``SHOWN`` properties.

    Shape:
        answers, labels: (N, properties).
    """
    shown = list(properties.items())[:SHOWN]
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(3.2 * columns + 0.8, 3.2 * rows + 0.4)
    for place, (name, kind) in enumerate(shown):
        axes = figure.add_subplot(rows, columns, place + 1)
        known = ~labels[:, place].isnan()
        pair = answers[known, place].double(), labels[known, place].double()
        (_roc if kind == CLASSIFICATION else _scatter)(axes, *pair)
        said = property_scores(pair[0][:, None], pair[1][:, None], {name: kind})
        text = ", ".join(f"{key} {value:.2f}" for key, value in said.items())
        axes.set_title(f"{name[:40]}\n{text}", fontsize=8)
    return figure


def _scatter(axes: Any, answers: Tensor, labels: Tensor) -> None:
    axes.scatter(labels, answers, s=6, alpha=0.5, linewidths=0)
    if len(labels):
        ends = [float(labels.min()), float(labels.max())]
        axes.plot(ends, ends, color="grey", linewidth=0.8)
    axes.set(xlabel="known", ylabel="predicted")


def _roc(axes: Any, answers: Tensor, labels: Tensor) -> None:
    ranked = labels[answers.argsort(descending=True)]
    hits, alarms = ranked.cumsum(0), (1 - ranked).cumsum(0)
    if len(ranked) and hits[-1] and alarms[-1]:
        zero = torch.zeros(1, dtype=hits.dtype)
        axes.plot(torch.cat([zero, alarms / alarms[-1]]), torch.cat([zero, hits / hits[-1]]))
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axes.set(xlabel="false positives", ylabel="true positives")
