"""Scores of anomaly detection, step by step."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import from_numpy
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

Steps = NDArray[np.bool_]


class Ranking(NamedTuple):
    """How well scores order steps, whatever the threshold.

    Args:
        roc_auc: Probability that an anomalous step has a higher score than another one.
        average_precision: Mean of the precision over the recall; a random score has the share of anomalies.
    """

    roc_auc: float
    average_precision: float


def ranking(scores: NDArray[np.float64], labels: Steps) -> Ranking:
    """Returns both areas; NaN if the steps are all alike.

    Shape:
        scores, labels: (T,).
    """
    if labels.all() or not labels.any():
        return Ranking(float("nan"), float("nan"))
    # torchmetrics squeezes scores outside 0..1 through a sigmoid, which makes large ones equal.
    _, ranks = np.unique(scores, return_inverse=True)
    places = from_numpy(ranks / max(int(ranks.max()), 1))
    truth = from_numpy(labels.astype(np.int64))
    return Ranking(
        float(binary_auroc(places, truth)), float(binary_average_precision(places, truth))
    )


def f1(flagged: Steps, labels: Steps) -> float:
    """Returns the harmonic mean of precision and recall of steps; 0 if nothing is hit.

    Shape:
        flagged, labels: (T,).
    """
    hit = int((flagged & labels).sum())
    return 2 * hit / max(int(flagged.sum()) + int(labels.sum()), 1)


def point_adjusted(flagged: Steps, labels: Steps) -> Steps:
    """Returns flags that cover each labelled stretch as a whole as soon as one of its steps is flagged.

    Much of the literature reports F1 of these. It flatters: a random score that flags a few steps hits
    long stretches by chance, and is then credited with all of them.

    Shape:
        flagged, labels: (T,). Output: (T,).

    Source:
        Xu et al. 2018, https://arxiv.org/abs/1802.03903, section 4.2; on what is wrong with it: Kim et al.
        2021, https://arxiv.org/abs/2109.05257.
    """
    edges = np.diff(labels.astype(np.int8), prepend=0)
    stretch = np.cumsum(edges == 1)
    hit = np.unique(stretch[flagged & labels])
    return flagged | (labels & np.isin(stretch, hit))


def moving_zscore(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Returns how many deviations each step lies from the mean of the steps before it: a simple score.

    Missing values count nowhere; several series are averaged. The first ``window`` steps have no past of
    that length and score 0.

    Args:
        values: NaN where missing.
        window: Steps before.

    Shape:
        values: (T, N). Output: (T,).
    """
    known = ~np.isnan(values)
    # Centred, so that the difference of squares below keeps its digits.
    centre = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, values - centre, 0.0)
    least = 1e-3 * filled.std(axis=0) + 1e-12  # a past that never changed

    def before(x: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
        return total[window:-1] - total[: -window - 1]

    scores = np.zeros(len(values))
    if len(values) <= window:
        return scores
    count = np.maximum(before(known.astype(float)), 1.0)
    mean = before(filled) / count
    spread = np.sqrt(np.maximum(before(filled**2) / count - mean**2, 0.0))
    distance = np.abs(filled[window:] - mean) / np.maximum(spread, least)
    usable = known[window:]
    total = np.where(usable, distance, 0.0).sum(axis=1)
    scores[window:] = total / np.maximum(usable.sum(axis=1), 1)
    return scores


def nearest_window(
    train: NDArray[np.float64], values: NDArray[np.float64], length: int, most: int = 4096
) -> NDArray[np.float64]:
    """Returns how far each step's windows are from the nearest window of the training part: a simple score.

    The squared distance of a window counts for all of its steps; a step has the mean over its windows. A
    missing value is read as the mean of its scaled series.

    Args:
        train: Scaled, NaN where missing.
        values: Scaled, NaN where missing.
        length: Steps of a window.
        most: Training windows that are compared with, evenly spaced; all if there are no more.

    Shape:
        train: (S, N). values: (T, N). Output: (T,).
    """
    view = np.lib.stride_tricks.sliding_window_view

    def windows(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return view(np.nan_to_num(x), length, axis=0).reshape(len(x) - length + 1, -1)

    known = windows(train)
    known = known[np.unique(np.linspace(0, len(known) - 1, min(most, len(known))).astype(int))]
    size = (known**2).sum(axis=1)
    asked = windows(values)
    distance = np.empty(len(asked))
    for part in np.array_split(np.arange(len(asked)), max(1, len(asked) // 1024)):
        found = asked[part]
        squares = (found**2).sum(axis=1)[:, None] + size - 2 * found @ known.T
        distance[part] = np.maximum(squares.min(axis=1), 0.0)
    # The sum over the windows of a step is a difference of running sums.
    total = np.concatenate([[0.0], np.cumsum(distance)])
    steps = np.arange(len(values))
    first, last = np.maximum(steps - length + 1, 0), np.minimum(steps, len(distance) - 1)
    return (total[last + 1] - total[first]) / (last + 1 - first)
