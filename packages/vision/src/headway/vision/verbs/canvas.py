"""Scores of many views of a picture, added up."""

import torch
from torch import Tensor


class Canvas:
    """Averages what views say of each pixel; they come from top to bottom and cover the picture.

    Rows that no later view reaches become classes at once, so that the scores of a large picture are never
    all in memory.

    Args:
        classes: Number of classes.
        height: Of the picture.
        width: Of the picture.
    """

    def __init__(self, classes: int, height: int, width: int) -> None:
        self.labels = torch.zeros(height, width, dtype=torch.long)
        self.scores = torch.zeros(height, width)
        self._top = 0
        self._total = torch.zeros(classes, 0, width)
        self._views = torch.zeros(0, width)

    def add(self, scores: Tensor, left: int, top: int) -> None:
        """Adds the scores of a view whose first pixel lies there.

        Shape:
            scores: (K, h, w).
        """
        self._finish(top)
        _, height, width = scores.shape
        missing = height - self._total.shape[1]
        if missing > 0:
            rows = self._total.new_zeros(len(self._total), missing, self._total.shape[2])
            self._total = torch.cat([self._total, rows], 1)
            self._views = torch.cat([self._views, rows[0]])
        self._total[:, :height, left : left + width] += scores
        self._views[:height, left : left + width] += 1

    def finished(self) -> tuple[Tensor, Tensor]:
        """Returns the class of each pixel and its score, (H, W) each."""
        self._finish(len(self.labels))
        return self.labels, self.scores

    def _finish(self, top: int) -> None:
        done = top - self._top
        if done <= 0:
            return
        mean = self._total[:, :done] / self._views[:done].clamp_min(1)
        rows = slice(self._top, self._top + mean.shape[1])
        self.scores[rows], self.labels[rows] = mean.max(0)
        self._total, self._views = self._total[:, done:], self._views[done:]
        self._top = top
