"""What a mask classifier is scored with, where its masks are not those of classes."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from headway.vision.metrics.average_precision import SCORES, AveragePrecision
from headway.vision.metrics.panoptic_quality import PanopticQuality
from headway.vision.models.masks import Masks, MaskTarget, instances, panoptic


class InstanceScores(nn.Module):
    """COCO's average precision of masks.

    Args:
        data: Unused.
        num_classes: Unused.
    """

    best = "map"

    def __init__(self, data: Any, num_classes: int) -> None:
        super().__init__()
        self.metric: Any = AveragePrecision(masks=True)

    def add(self, found: Masks, wanted: Sequence[MaskTarget]) -> None:
        """Adds a batch.

        Args:
            found: What the model returned.
            wanted: The objects of each picture.
        """
        size = _size(wanted)
        predicted = [
            {"scores": one.scores, "labels": one.labels, "masks": one.masks}
            for one in instances(found, size, threshold=0.0)
        ]
        truth = [
            {"masks": one.masks, "labels": one.labels, "iscrowd": one.crowd.long()}
            for one in wanted
        ]
        self.metric.update(predicted, truth)

    def values(self) -> dict[str, Tensor]:
        """Returns the scores; those of which the data have no objects are left out."""
        scores = self.metric.compute()
        return {name: scores[name].float() for name in SCORES if scores[name] >= 0}


class PanopticScores(nn.Module):
    """Panoptic quality, and that of each class.

    Args:
        data: Has the classes, and says which have no instances (``stuff``).
        num_classes: Classes.
    """

    best = "pq"

    def __init__(self, data: Any, num_classes: int) -> None:
        super().__init__()
        self.classes: Sequence[str] = data.classes
        self.stuff = data.stuff
        self.metric: Any = PanopticQuality(num_classes=num_classes)

    def add(self, found: Masks, wanted: Sequence[MaskTarget]) -> None:
        """Adds a batch.

        Args:
            found: What the model returned.
            wanted: The segments of each picture.
        """
        self.metric.update(panoptic(found, _size(wanted), stuff=self.stuff), wanted)

    def values(self) -> dict[str, Tensor]:
        """Returns the scores."""
        scores = self.metric.compute()
        named = zip(self.classes, scores["pq"], strict=False)
        each = {f"pq_{name}": one for name, one in named if not one.isnan()}
        whole = {name: scores[name].nanmean() for name in ("sq", "rq")}
        return {"pq": scores["mean"], **whole, **each}


def _size(wanted: Sequence[MaskTarget]) -> tuple[int, int]:
    height, width = wanted[0].masks.shape[1:]
    return height, width


# By what data say that their masks are.
SCORES_OF: dict[str, type[InstanceScores] | type[PanopticScores]] = {
    "instances": InstanceScores,
    "panoptic": PanopticScores,
}
