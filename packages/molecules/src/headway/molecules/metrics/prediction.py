"""How well properties are predicted, each by itself and in the mean."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc

from headway.molecules.models.property_predictor import CLASSIFICATION


def property_scores(
    answers: Tensor, labels: Tensor, properties: Mapping[str, str]
) -> dict[str, float]:
    """Returns ``rmse``, ``mae`` and ``r2`` of numbers and ``auc`` of classes, of those labels that are known.

    The mean over properties stands under the bare name; where there are several, each stands under its own
    (``auc_NR-AR``). What a part cannot say is left out: the area under the ROC of a single class, R2 of a
    number that is always the same.

    Args:
        answers: Numbers in their own units, probabilities of classes.
        labels: What is known; nan where nothing is.
        properties: Kind of each by its name.

    Shape:
        answers, labels: (N, properties).
    """
    each: dict[str, dict[str, float]] = {}
    for place, (name, kind) in enumerate(properties.items()):
        known = ~labels[:, place].isnan()
        pair = answers[known, place].double(), labels[known, place].double()
        found = _of_classes(*pair) if kind == CLASSIFICATION else _of_numbers(*pair)
        for metric, value in found.items():
            each.setdefault(metric, {})[name] = value
    scores = {metric: sum(found.values()) / len(found) for metric, found in each.items()}
    if len(properties) > 1:
        scores |= {
            f"{metric}_{name}": value
            for metric, found in each.items()
            for name, value in found.items()
        }
    return scores


class PropertyScores(Metric):
    """Collects answers and labels of an epoch; its value is that of ``property_scores``.

    Args:
        properties: Kind of each by its name.
    """

    full_state_update = False
    answers: list[Tensor]
    labels: list[Tensor]

    def __init__(self, properties: Mapping[str, str]) -> None:
        super().__init__()
        self.properties = dict(properties)
        self.add_state("answers", [], dist_reduce_fx="cat")
        self.add_state("labels", [], dist_reduce_fx="cat")

    def update(self, answers: Tensor, labels: Tensor) -> None:
        """Adds a batch, (B, properties) each."""
        self.answers.append(answers.detach().float())
        self.labels.append(labels.float())

    def compute(self) -> dict[str, float]:
        """Returns the scores."""
        return property_scores(*self.pairs(), self.properties)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Returns all answers and labels, (N, properties) each."""
        found = (self.answers, self.labels)
        # What several devices have seen is a tensor already.
        answers, labels = (x if isinstance(x, Tensor) else torch.cat(x) for x in found)
        return answers, labels


def _of_numbers(answers: Tensor, labels: Tensor) -> dict[str, float]:
    if not len(labels):
        return {}
    error = answers - labels
    found = {"rmse": float(error.square().mean().sqrt()), "mae": float(error.abs().mean())}
    spread = float((labels - labels.mean()).square().sum())
    return found if spread == 0 else {**found, "r2": 1 - float(error.square().sum()) / spread}


def _of_classes(answers: Tensor, labels: Tensor) -> dict[str, float]:
    if not bool((labels == 0).any()) or not bool((labels == 1).any()):
        return {}
    return {"auc": float(binary_auroc(answers, labels.long()))}
