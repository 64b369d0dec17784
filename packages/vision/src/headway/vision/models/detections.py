"""From what a detector returns to objects in pixels."""

from torch import Tensor

from headway.vision.models.boxes import corners
from headway.vision.models.detector import Detections, SigmoidDetections


def found_objects(output: Detections | SigmoidDetections, sizes: Tensor) -> list[dict[str, Tensor]]:
    """Returns for each picture what its queries found.

    Where one class of a query is named, each query finds one object: its most likely class and its box. Where
    each class is scored by itself, the surest of all classes of all queries count, as many as there are
    queries.

    Args:
        output: What the detector returned.
        sizes: Height and width of each picture in the pixels that boxes are wanted in.

    Shape:
        sizes: (B, 2). Output: per picture ``scores`` (Q,), ``labels`` (Q,), ``boxes`` (Q, 4) as left, top,
        right, bottom.
    """
    if isinstance(output, SigmoidDetections):
        queries, classes = output.logits.shape[1:]
        scores, best = output.logits.float().sigmoid().flatten(1).topk(queries)
        labels = best % classes
        boxes = output.boxes.gather(1, (best // classes)[..., None].expand(-1, -1, 4))
    else:
        scores, labels = output.logits.float().softmax(-1)[..., :-1].max(-1)
        boxes = output.boxes
    return [
        {"scores": scores[i], "labels": labels[i], "boxes": to_corners(boxes[i], sizes[i])}
        for i in range(len(scores))
    ]


def to_corners(boxes: Tensor, size: Tensor) -> Tensor:
    """Turns centre, width and height in 0..1 into left, top, right, bottom in pixels, inside the picture.

    Shape:
        boxes: (N, 4). size: (2,), height and width.
    """
    shares = corners(boxes.float()).clamp(0, 1)
    return shares * size.flip(0).repeat(2).to(shares)
