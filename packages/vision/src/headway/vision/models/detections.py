"""What detectors answer, and the way from there to objects in pixels."""

from typing import NamedTuple

import torch
from torch import Tensor

from headway.core.answers import answer


class Objects(NamedTuple):
    """One object for each query: its most likely class.

    Args:
        scores: Of the class, in 0..1, (B, Q).
        labels: The classes, (B, Q).
        boxes: Centre x, centre y, width and height as shares of the picture, (B, Q, 4).
    """

    scores: Tensor
    labels: Tensor
    boxes: Tensor


@answer
class Detections(NamedTuple):
    """What a detector returns.

    A detector whose logits mean something else returns a named tuple of its own with ``probabilities``,
    ``objects``, ``boxes`` and ``aux``; nobody else asks which detector it was.

    Args:
        logits: Of each query and class; the last column means that there is no object, (B, Q, K + 1).
        boxes: Centre x, centre y, width and height as shares of the picture, (B, Q, 4) in 0..1.
        aux: In training, logits and boxes of each decoder block before the last one.
    """

    logits: Tensor
    boxes: Tensor
    aux: tuple[tuple[Tensor, Tensor], ...] = ()

    def probabilities(self) -> Tensor:
        """Returns how likely each class is for each query, (B, Q, K)."""
        return self.logits.float().softmax(-1)[..., :-1]

    def objects(self) -> Objects:
        """Returns the object that each query found."""
        scores, labels = self.probabilities().max(-1)
        return Objects(scores, labels, self.boxes.float())


def found_objects(output: Detections, sizes: Tensor) -> list[dict[str, Tensor]]:
    """Returns for each picture the object that each query found: its most likely class and its box.

    Args:
        output: What the detector returned.
        sizes: Height and width of each picture in the pixels that boxes are wanted in.

    Shape:
        sizes: (B, 2). Output: per picture ``scores`` (Q,), ``labels`` (Q,), ``boxes`` (Q, 4) as left, top,
        right, bottom.
    """
    scores, labels, boxes = output.objects()
    return [
        {"scores": scores[i], "labels": labels[i], "boxes": to_corners(boxes[i], sizes[i])}
        for i in range(len(scores))
    ]


def to_corners(boxes: Tensor, size: Tensor) -> Tensor:
    """Turns centre, width and height in 0..1 into left, top, right, bottom in pixels, inside the picture.

    Shape:
        boxes: (N, 4). size: (2,), height and width.
    """
    corners = corner_shares(boxes)
    return corners * size.flip(0).repeat(2).to(corners)


def corner_shares(boxes: Tensor) -> Tensor:
    """Turns centre, width and height in 0..1 into left, top, right, bottom in 0..1.

    Shape:
        boxes: (..., 4). Output: the same.
    """
    centre, extent = boxes.float()[..., :2], boxes.float()[..., 2:]
    return torch.cat([centre - extent / 2, centre + extent / 2], dim=-1).clamp(0, 1)
