"""What detectors answer, and the way from there to objects in pixels."""

from typing import NamedTuple

from torch import Tensor

from headway.core.answers import answer
from headway.vision.models.boxes import corners

# Logits and boxes of several blocks, and what boxes are made of where a detector says so.
Pairs = tuple[tuple[Tensor, ...], ...]


class Objects(NamedTuple):
    """As many objects as there are queries.

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
    """What a detector returns that names one class of a query, or that there is no object.

    A detector whose logits mean something else returns a named tuple of its own with ``probabilities``,
    ``objects``, ``ranked``, ``boxes`` and ``aux``; nobody else asks which detector it was.

    Args:
        logits: Of each query and class; the last column means that there is no object, (B, Q, K + 1).
        boxes: Centre x, centre y, width and height as shares of the picture, (B, Q, 4) in 0..1.
        aux: In training, logits and boxes of each decoder block before the last one.
    """

    logits: Tensor
    boxes: Tensor
    aux: Pairs = ()

    def probabilities(self) -> Tensor:
        """Returns how likely each class is for each query, (B, Q, K)."""
        return self.logits.float().softmax(-1)[..., :-1]

    def objects(self) -> Objects:
        """Returns for each query its most likely class."""
        return _likeliest(self.probabilities(), self.boxes)

    def ranked(self) -> Objects:
        """Returns what counts as found: one object for each query."""
        return self.objects()


class Denoised(NamedTuple):
    """What became of queries that were objects with noise.

    Args:
        rows: Which pictures of the batch these are.
        blocks: Logits and boxes of every decoder block.
        objects: Of each picture the numbers of its queries that shall find an object, group by group.
        groups: How many times each object is there.
    """

    rows: list[int]
    blocks: Pairs
    objects: list[Tensor]
    groups: int


class Proposals(NamedTuple):
    """What tokens say of objects before there are queries.

    Args:
        rows: Which pictures of the batch these are.
        logits: Of each class, (B, N, K); the first one says that there is an object of any class.
        boxes: Centre x, centre y, width and height as shares of the picture, (B, N, 4).
    """

    rows: list[int]
    logits: Tensor
    boxes: Tensor


@answer
class SigmoidDetections(NamedTuple):
    """What a detector returns that scores each class by itself.

    Args:
        logits: Of each query and class, (B, Q, K); a sigmoid makes them probabilities.
        boxes: Centre x, centre y, width and height as shares of the picture, (B, Q, 4) in 0..1.
        aux: In training, logits and boxes of the encoder and of each decoder block before the last one.
        denoised: In training with objects, what became of those with noise, pictures of one size together.
        edges: In training, what the boxes are made of where a detector says so (``DFINE``).
        proposals: In training, where objects are proposed without a class, what every token proposes.
        groups: How many times the queries stand there in training, one group behind the other; each finds all
            objects by itself.
    """

    logits: Tensor
    boxes: Tensor
    aux: Pairs = ()
    denoised: tuple[Denoised, ...] = ()
    proposals: tuple[Proposals, ...] = ()
    edges: tuple[Tensor, ...] = ()
    groups: int = 1

    def probabilities(self) -> Tensor:
        """Returns how likely each class is for each query, (B, Q, K)."""
        return self.logits.float().sigmoid()

    def objects(self) -> Objects:
        """Returns for each query its most likely class."""
        return _likeliest(self.probabilities(), self.boxes)

    def ranked(self) -> Objects:
        """Returns what counts as found: of all classes of all queries the surest, as many as queries."""
        queries, classes = self.logits.shape[1:]
        scores, best = self.probabilities().flatten(1).topk(queries)
        boxes = self.boxes.float().gather(1, (best // classes)[..., None].expand(-1, -1, 4))
        return Objects(scores, best % classes, boxes)


def _likeliest(probabilities: Tensor, boxes: Tensor) -> Objects:
    scores, labels = probabilities.max(-1)
    return Objects(scores, labels, boxes.float())


def found_objects(output: Detections | SigmoidDetections, sizes: Tensor) -> list[dict[str, Tensor]]:
    """Returns for each picture what its queries found.

    Args:
        output: What the detector returned.
        sizes: Height and width of each picture in the pixels that boxes are wanted in.

    Shape:
        sizes: (B, 2). Output: per picture ``scores`` (Q,), ``labels`` (Q,), ``boxes`` (Q, 4) as left, top,
        right, bottom.
    """
    scores, labels, boxes = output.ranked()
    return [
        {"scores": scores[i], "labels": labels[i], "boxes": to_corners(boxes[i], sizes[i])}
        for i in range(len(scores))
    ]


def to_corners(boxes: Tensor, size: Tensor) -> Tensor:
    """Turns centre, width and height in 0..1 into left, top, right, bottom in pixels, inside the picture.

    Shape:
        boxes: (N, 4). size: (2,), height and width.
    """
    return in_pixels(corner_shares(boxes), size)


def in_pixels(shares: Tensor, size: Tensor) -> Tensor:
    """Turns left, top, right, bottom in 0..1 into pixels.

    Shape:
        shares: (N, 4). size: (2,), height and width.
    """
    return shares * size.flip(0).repeat(2).to(shares)


def corner_shares(boxes: Tensor) -> Tensor:
    """Turns centre, width and height in 0..1 into left, top, right, bottom in 0..1.

    Shape:
        boxes: (..., 4). Output: the same.
    """
    return corners(boxes.float()).clamp(0, 1)
