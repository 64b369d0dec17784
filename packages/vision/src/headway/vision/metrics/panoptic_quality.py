"""How well maps of segments agree."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from headway.core.errors import UserError
from headway.vision.models.masks import MaskTarget, Panoptic


class PanopticQuality(Metric):
    """Panoptic quality of each class: how many segments are found, times how well they overlap.

    A segment is found where one of its class covers more than half of their union. Pixels that belong to no
    segment of the truth count for nothing, and neither does what lies mostly there or in a crowd of its
    class. ``compute`` returns ``pq``, ``sq`` (the mean overlap of what is found) and ``rq`` (how many are),
    (K,), NaN for classes that were neither there nor predicted, and ``mean``, that of ``pq`` without those.

    Args:
        num_classes: Classes.

    Raises:
        UserError: If there is no class, or masks of the truth overlap.

    Source:
        Kirillov et al. 2019, https://arxiv.org/abs/1801.00868, section 4.
    """

    full_state_update = False
    overlaps: Tensor
    found: Tensor
    wrong: Tensor
    missed: Tensor

    def __init__(self, *, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"num_classes is {num_classes}; it must be at least 1")
        self.num_classes = num_classes
        for name in ("overlaps", "found", "wrong", "missed"):
            empty = torch.zeros(num_classes, dtype=torch.double)
            self.add_state(name, empty, dist_reduce_fx="sum")

    def update(self, predicted: Sequence[Panoptic], wanted: Sequence[MaskTarget]) -> None:
        """Counts the segments of pictures."""
        for mine, truth in zip(predicted, wanted, strict=True):
            self._add(mine, truth)

    def _add(self, mine: Panoptic, truth: MaskTarget) -> None:
        masks = truth.masks
        if len(masks) and int(masks.sum(0).max()) > 1:
            raise UserError("the masks of a picture overlap: they are no map of segments")
        # Segments of the truth from 1; 0 is nothing. Those of the answer likewise, in their order.
        order = torch.arange(1, len(masks) + 1, device=masks.device)
        ids = (masks * order[:, None, None]).sum(0) if len(masks) else torch.zeros_like(mine.ids)
        place = {segment.id: number for number, segment in enumerate(mine.segments, start=1)}
        found = torch.zeros_like(mine.ids)
        for one, number in place.items():
            found[mine.ids == one] = number
        rows, columns = len(masks) + 1, len(mine.segments) + 1
        both = torch.bincount((ids * columns + found).flatten(), minlength=rows * columns)
        both = both.view(rows, columns).double().cpu()
        labels = torch.tensor([segment.label for segment in mine.segments], dtype=torch.long)
        true, crowd = truth.labels.cpu(), truth.crowd.cpu()
        inner = both[1:, 1:]
        # What lies where there is no truth is no part of the union.
        sizes, areas = both[1:].sum(1), both[:, 1:].sum(0)
        union = sizes[:, None] + areas - both[0, 1:] - inner
        overlap = inner / union.clamp_min(1)
        same = true[:, None] == labels
        match = (overlap > 0.5) & same & ~crowd[:, None]
        hit = match.nonzero()
        overlaps = overlap[hit[:, 0], hit[:, 1]]
        missed = ~match.any(1) & ~crowd & (sizes > 0)
        aside = both[0, 1:] + (inner * (same & crowd[:, None])).sum(0)
        wrong = ~match.any(0) & (aside <= 0.5 * areas) & (areas > 0)
        self._count("overlaps", true[hit[:, 0]], overlaps)
        self._count("found", true[hit[:, 0]], torch.ones_like(overlaps))
        self._count("missed", true[missed], None)
        self._count("wrong", labels[wrong], None)

    def _count(self, name: str, labels: Tensor, values: Tensor | None) -> None:
        state: Tensor = getattr(self, name)
        added = torch.ones(len(labels), dtype=state.dtype) if values is None else values
        state.index_add_(0, labels.to(state.device), added.to(state))

    def compute(self) -> dict[str, Tensor]:
        """Returns the scores."""
        half = (self.wrong + self.missed) / 2
        pq = self.overlaps / (self.found + half)
        sq = self.overlaps / self.found
        rq = self.found / (self.found + half)
        # A class of which nothing is found has no overlap to speak of: its quality is 0.
        sq = torch.where(self.found + half > 0, sq.nan_to_num(0.0), sq)
        parts = {"pq": pq.float(), "sq": sq.float(), "rq": rq.float()}
        return {**parts, "mean": pq.nanmean().float()}
