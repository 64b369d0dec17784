"""Numbers for objects that stay with them from picture to picture."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_iou

from headway.core.errors import UserError


@dataclass
class _Track:
    number: int
    label: int
    box: Tensor
    motion: Tensor
    missed: int = 0

    def expected(self) -> Tensor:
        """Returns where the object is by now if it goes on moving as it did."""
        return self.box + self.motion * (1 + self.missed)


class Tracker:
    """Follows objects through the pictures of one sequence, by their boxes alone.

    Each track expects its object where its last motion leads. Tracks and objects of one class are matched one
    to one so that the boxes share most in all; what shares too little with every track begins a new one.

    Args:
        overlap: Least IoU of an object and where its track expects it.
        patience: Pictures that an object may be missing from and still be the same.

    Raises:
        UserError: If a value is outside its range.

    Source:
        Bewley et al. 2016 (SORT), https://arxiv.org/abs/1602.00763, section 3, without its Kalman filter.
    """

    def __init__(self, *, overlap: float = 0.3, patience: int = 5) -> None:
        if not 0 < overlap <= 1:
            raise UserError(f"overlap {overlap} is outside (0, 1]")
        if patience < 0:
            raise UserError(f"patience {patience} is negative; 0 forgets what one picture lacks")
        self.overlap, self.patience = overlap, patience
        self._tracks: list[_Track] = []
        self._last = 0

    def follow(self, found: Mapping[str, Tensor]) -> Tensor:
        """Returns the number of each object of the next picture.

        Args:
            found: ``labels`` (N,) and ``boxes`` (N, 4) as left, top, right, bottom.

        Shape:
            Output: (N,) int64, from 1 on.
        """
        boxes, labels = found["boxes"].float(), found["labels"].tolist()
        numbers = torch.zeros(len(labels), dtype=torch.long)
        seen: set[int] = set()
        if self._tracks and labels:
            expected = torch.stack([track.expected() for track in self._tracks])
            shared = box_iou(expected, boxes)
            kinds = torch.tensor([track.label for track in self._tracks])
            shared[kinds[:, None] != found["labels"][None]] = 0
            # What shares too little must not keep others from their match.
            shared[shared < self.overlap] = 0
            for row, column in zip(*linear_sum_assignment(-shared.numpy()), strict=True):
                if shared[row, column] > 0:
                    track, box = self._tracks[row], boxes[column]
                    track.motion = (box - track.box) / (1 + track.missed)
                    track.box, track.missed = box, 0
                    numbers[column] = track.number
                    seen.add(track.number)
        for place, label in enumerate(labels):
            if not numbers[place]:
                self._last += 1
                numbers[place] = self._last
                seen.add(self._last)
                box = boxes[place]
                self._tracks.append(_Track(self._last, label, box, torch.zeros_like(box)))
        for track in self._tracks:
            track.missed += track.number not in seen
        self._tracks = [track for track in self._tracks if track.missed <= self.patience]
        return numbers
