"""Several metrics of one split, each with a state of its own."""

from collections.abc import Mapping
from typing import Any

from torchmetrics import Metric, MetricCollection


def score_collection(metrics: Mapping[str, Metric], *, prefix: str) -> MetricCollection:
    """Returns metrics that are updated and logged together.

    torchmetrics would let metrics whose states agree after the first batch share one state from then on:
    after a first batch without a mistake, top 5 would be top 1 for ever.

    Args:
        metrics: By name.
        prefix: In front of the names, such as ``val_``.
    """
    found: Any = dict(metrics)
    return MetricCollection(found, prefix=prefix, compute_groups=False)
