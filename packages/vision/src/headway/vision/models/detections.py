"""From what a detector returns to objects in pixels."""

import torch
from torch import Tensor

from headway.vision.models.detr import Detections


def found_objects(output: Detections, sizes: Tensor) -> list[dict[str, Tensor]]:
    """Returns for each picture the object that each query found: its most likely class and its box.

    Args:
        output: What the detector returned.
        sizes: Height and width of each picture in the pixels that boxes are wanted in.

    Shape:
        sizes: (B, 2). Output: per picture ``scores`` (Q,), ``labels`` (Q,), ``boxes`` (Q, 4) as left, top,
        right, bottom.
    """
    scores, labels = output.logits.float().softmax(-1)[..., :-1].max(-1)
    return [
        {"scores": scores[i], "labels": labels[i], "boxes": to_corners(output.boxes[i], sizes[i])}
        for i in range(len(scores))
    ]


def to_corners(boxes: Tensor, size: Tensor) -> Tensor:
    """Turns centre, width and height in 0..1 into left, top, right, bottom in pixels, inside the picture.

    Shape:
        boxes: (N, 4). size: (2,), height and width.
    """
    centre, extent = boxes.float()[:, :2], boxes.float()[:, 2:]
    corners = torch.cat([centre - extent / 2, centre + extent / 2], dim=1).clamp(0, 1)
    return corners * size.flip(0).repeat(2).to(corners)
