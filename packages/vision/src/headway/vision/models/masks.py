"""What mask classifiers answer, and the way from there to classes, instances and segments of a picture."""

from collections.abc import Collection
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.answers import answer
from headway.vision.models.detections import Pairs


@answer
class Masks(NamedTuple):
    """What a mask classifier returns: each query has a class and a mask.

    Args:
        logits: Of each query and class; the last column means that there is no object, (B, Q, K + 1).
        masks: Logits of each query and pixel of a coarse map, (B, Q, h, w).
        aux: In training, logits and masks of each block before the last one.
    """

    logits: Tensor
    masks: Tensor
    aux: Pairs = ()


class MaskTarget(NamedTuple):
    """The objects, or segments, of one picture.

    Args:
        masks: Whether a pixel belongs to it, (N, H, W) bool.
        labels: Classes, (N,) int64.
        crowd: Whether it is many objects in one; such masks are evaluated, but not learned, (N,) bool.
    """

    masks: Tensor
    labels: Tensor
    crowd: Tensor


class Instances(NamedTuple):
    """The objects of a picture; their masks may overlap.

    Args:
        scores: Of class and mask together, in 0..1, (N,).
        labels: The classes, (N,).
        masks: Whether a pixel belongs to it, (N, H, W).
    """

    scores: Tensor
    labels: Tensor
    masks: Tensor


class Segment(NamedTuple):
    """A part of a picture: a thing, or all stuff of a class.

    Args:
        id: Its number in the map, from 1.
        label: The class.
        score: The probability of the class.
    """

    id: int
    label: int
    score: float


class Panoptic(NamedTuple):
    """A picture whose every pixel belongs to one segment, or to none.

    Args:
        ids: The segment of each pixel; 0 where there is none, (H, W) int64.
        segments: The segments.
    """

    ids: Tensor
    segments: list[Segment]


def resized_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns masks of another height and width, between pixels read linearly.

    Shape:
        masks: (B, Q, h, w). Output: (B, Q, H, W).
    """
    return F.interpolate(masks.float(), size=size, mode="bilinear", align_corners=False)


def semantic(found: Masks, size: tuple[int, int]) -> Tensor:
    """Returns the score of each class for each pixel: of all queries, how likely class and mask are.

    Shape:
        Output: (B, K, H, W).

    Source:
        Cheng et al. 2021 (MaskFormer), https://arxiv.org/abs/2107.06278, section 3.4.
    """
    classes = found.logits.float().softmax(-1)[..., :-1]
    return torch.einsum("bqc,bqhw->bchw", classes, resized_masks(found.masks, size).sigmoid())


def instances(found: Masks, size: tuple[int, int], *, threshold: float = 0.5) -> list[Instances]:
    """Returns the objects of each picture, the surest first.

    Of all classes of all queries the likeliest are taken, as many as there are queries. A mask counts as
    much as it is sure of its pixels.

    Args:
        found: What a mask classifier returned.
        size: Height and width of the masks.
        threshold: What scores less is left out, and so is what has no pixel.
    """
    masks = resized_masks(found.masks, size)
    probabilities = found.logits.float().softmax(-1)[..., :-1]
    queries, classes = probabilities.shape[1:]
    results = []
    for own, likely in zip(masks, probabilities, strict=True):
        scores, best = likely.flatten().topk(queries)
        logits = own[best // classes]
        inside = logits > 0
        area = inside.sum((1, 2))
        scores = scores * (logits.sigmoid() * inside).sum((1, 2)) / (area + 1e-6)
        order = scores.argsort(descending=True, stable=True)
        order = order[(scores[order] >= threshold) & (area[order] > 0)]
        results.append(Instances(scores[order], (best % classes)[order], inside[order]))
    return results


def panoptic(
    found: Masks,
    size: tuple[int, int],
    *,
    threshold: float = 0.5,
    overlap: float = 0.8,
    stuff: Collection[int] = (),
) -> list[Panoptic]:
    """Returns one map of segments of each picture.

    Each pixel goes to the query whose class and mask are the likeliest there. A query that keeps little of
    its mask makes no segment.

    Args:
        found: What a mask classifier returned.
        size: Height and width of the maps.
        threshold: Queries whose class is less likely are left out; pixels of a mask, too.
        overlap: The share of its mask that a segment keeps at least.
        stuff: Classes without instances: their masks are one segment.
    """
    masks = resized_masks(found.masks, size).sigmoid()
    best, labels = found.logits.float().softmax(-1).max(-1)
    nothing = found.logits.shape[-1] - 1
    results = []
    for own, scores, classes in zip(masks, best, labels, strict=True):
        kept = (classes != nothing) & (scores > threshold)
        results.append(_one_map(own[kept], scores[kept], classes[kept], overlap, stuff))
    return results


def _one_map(
    masks: Tensor, scores: Tensor, labels: Tensor, overlap: float, stuff: Collection[int]
) -> Panoptic:
    ids = torch.zeros(masks.shape[1:], dtype=torch.long, device=masks.device)
    segments: list[Segment] = []
    if not len(masks):
        return Panoptic(ids, segments)
    likely = masks * scores[:, None, None]
    winner = likely.argmax(0)
    merged: dict[int, int] = {}
    for place, (label, score) in enumerate(zip(labels.tolist(), scores.tolist(), strict=True)):
        own = winner == place
        kept, whole = int(own.sum()), int((likely[place] >= 0.5).sum())
        if not kept or not whole or kept / whole <= overlap:
            continue
        if label in merged:
            ids[own] = merged[label]
            continue
        segments.append(Segment(len(segments) + 1, label, score))
        ids[own] = segments[-1].id
        if label in stuff:
            merged[label] = segments[-1].id
    return Panoptic(ids, segments)
