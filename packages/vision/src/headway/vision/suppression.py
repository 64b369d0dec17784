"""Boxes of one class that overlap: which of them stay, and how sure they stay."""

import torch
from torch import Tensor

Found = dict[str, Tensor]

SAME = 0.5
"""Boxes of two views are one object where they share this part of the smaller one."""

_SIGMA = 0.5


def suppress(
    found: Found,
    *,
    overlap: float | None = None,
    soft: bool = False,
    views: Tensor | None = None,
    cut: Tensor | None = None,
) -> Found:
    """Leaves out, or doubts, boxes that a surer box of the same class overlaps; the surest come first.

    Args:
        found: ``scores`` (N,), ``labels`` (N,) and ``boxes`` (N, 4) as left, top, right, bottom.
        overlap: The largest IoU of two boxes of a class that may both stay; any if None.
        soft: Whether the score of an overlapped box falls (by a Gaussian of the IoU) in place of that;
            ``overlap`` then plays no part.
        views: Which view of the picture found each box. Those of two views are one object where they
            share half of the smaller one: a tile has a part of what another one, or the whole, has.
        cut: Whether a box ends where its view does and may be a part; any whole box goes before it.

    Source:
        Bodla et al. 2017 (soft suppression), https://arxiv.org/abs/1704.04503, eq. 2.
    """
    labels, boxes, scores = found["labels"], found["boxes"], found["scores"].clone()
    views = torch.zeros_like(labels) if views is None else views
    behind = torch.zeros_like(scores) if cut is None else cut.to(scores)
    kept: list[int] = []
    left = torch.ones_like(scores, dtype=torch.bool)
    while left.any():
        # Where scores fall, the surest of those that are left is found anew.
        best = int((scores - behind).masked_fill(~left, -2).argmax())
        left[best] = False
        kept.append(best)
        iou, share = _overlaps(boxes[best], boxes)
        rivals = left & (labels == labels[best])
        gone = rivals & (views != views[best]) & (share > SAME)
        if soft:
            scores = torch.where(rivals, scores * torch.exp(-(iou**2) / _SIGMA), scores)
        elif overlap is not None:
            gone |= rivals & (iou > overlap)
        left &= ~gone
    chosen = torch.tensor(kept, dtype=torch.long)
    chosen = chosen[scores[chosen].argsort(descending=True, stable=True)]
    return {"scores": scores[chosen], "labels": labels[chosen], "boxes": boxes[chosen]}


def _overlaps(box: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what a box shares with others: of both together, and of the smaller one.

    Shape:
        box: (4,). boxes: (N, 4). Output: (N,) each.
    """
    start, end = torch.maximum(box[:2], boxes[:, :2]), torch.minimum(box[2:], boxes[:, 2:])
    shared = (end - start).clamp_min(0).prod(1)
    mine, theirs = (box[2:] - box[:2]).prod(), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    least = torch.finfo(shared.dtype).tiny
    together = (mine + theirs - shared).clamp_min(least)
    return shared / together, shared / torch.minimum(mine, theirs).clamp_min(least)
