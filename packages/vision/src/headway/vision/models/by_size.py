"""Answers for pictures of several sizes: those of one size go through a model together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headway.vision.models.detections import SigmoidDetections
from headway.vision.models.sizes import same_size

Find = Callable[[Tensor, list[int] | None], SigmoidDetections]


def by_size(
    images: Tensor, sizes: Tensor | Sequence[Sequence[int]] | None, find: Find
) -> SigmoidDetections:
    """Returns what is found in each picture, in the order of the batch.

    Args:
        images: Padded on the right and at the bottom.
        sizes: Height and width of each; all as large as the batch if None.
        find: Finds objects in pictures of one size: these rows of the batch, or all where None.
    """
    if sizes is None:
        # Nobody counts the pictures: a graph that is exported leaves their number open.
        return find(images, None)
    groups = same_size(images, sizes)
    found = [find(part, rows) for rows, part in groups]
    if len(found) == 1:
        return found[0]
    order = torch.tensor([row for rows, _ in groups for row in rows]).argsort()
    logits, places, *edges = _together(
        [(one.logits, one.boxes, *one.edges) for one in found], order
    )
    aux = tuple(_together(pairs, order) for pairs in zip(*(one.aux for one in found), strict=True))
    return SigmoidDetections(
        logits,
        places,
        aux,
        tuple(part for one in found for part in one.denoised),
        tuple(part for one in found for part in one.proposals),
        tuple(edges),
        found[0].groups,
    )


def _together(parts: Sequence[tuple[Tensor, ...]], order: Tensor) -> tuple[Tensor, ...]:
    """Returns the tensors of all groups in the order of the batch."""
    return tuple(torch.cat(one)[order.to(one[0].device)] for one in zip(*parts, strict=True))
