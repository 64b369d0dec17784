"""What a model of points missed, as intervals: split conformal prediction."""

import math
from typing import Any

import torch
from torch import Tensor

# Percent of the intervals that are kept; any central interval between them is on a straight line.
PERCENTS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99)
MOST = 1024  # windows that are remembered; neighbours hardly differ


def conformal_radius(residuals: Tensor, percent: float) -> Tensor:
    """Returns the half width of an interval that holds a new value with at least this probability.

    With n residuals it is the ``ceil((n + 1) percent / 100)``-th smallest one, and infinite if there are
    fewer: then no finite interval keeps the promise.

    Args:
        residuals: Absolute errors on data that the model was not trained on, NaN where unknown.
        percent: Of the interval.

    Shape:
        residuals: (n, ...). Output: (...).

    Source:
        Lei et al. 2018, https://arxiv.org/abs/1604.04173, section 2.2.
    """
    known = ~torch.isnan(residuals)
    count = known.sum(dim=0)
    ordered = residuals.masked_fill(~known, torch.inf).sort(dim=0).values
    # Rounding: 11 * 0.8 / 1 is not always 8.8.
    rank = torch.ceil((count + 1) * (percent / 100) - 1e-9).long()
    found = ordered.gather(0, (rank - 1).clamp(0, len(residuals) - 1)[None])[0]
    return found.masked_fill(rank > count, torch.inf)


class Residuals:
    """Absolute errors of scaled series, window by window."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets everything."""
        self._errors: list[Tensor] = []
        self._items: list[Tensor] = []
        self._seen, self._every = 0, 1

    def add(self, errors: Tensor, mask: Tensor | None, item: Tensor | None) -> None:
        """Adds a batch; from the moment that there are too many, every second window is let go.

        Args:
            errors: Absolute errors.
            mask: True where known; None if all are.
            item: Number of the series of each window, where a window holds one series.

        Shape:
            errors, mask: (B, H, N). item: (B,).
        """
        if mask is not None:
            errors = errors.masked_fill(~mask, torch.nan)
        wanted = (torch.arange(len(errors)) + self._seen) % self._every == 0
        self._seen += len(errors)
        self._errors.append(errors.detach().float().cpu()[wanted])
        if item is not None:
            self._items.append(item.cpu()[wanted])
        # Series of their own each need their windows.
        most = MOST if item is None else 64 * MOST
        while sum(map(len, self._errors)) > most:
            self._errors = [torch.cat(self._errors)[::2]]
            self._items = [torch.cat(self._items)[::2]] if self._items else []
            self._every *= 2

    def intervals(self) -> dict[str, Any] | None:
        """Returns the half widths as JSON values: of all series together, and of each; None without errors.

        ``all`` is (percent, H); ``series`` is series -> (percent, H), by number. An infinite one is null.
        """
        if not self._errors:
            return None
        errors = torch.cat(self._errors)
        if not len(errors) or torch.isnan(errors).all():
            return None
        if self._items:
            items = torch.cat(self._items)
            groups = {int(k): errors[items == k, :, 0] for k in items.unique()}
        else:
            groups = {k: errors[:, :, k] for k in range(errors.shape[2])}
        together = errors.transpose(1, 2).flatten(0, 1)
        return {
            "windows": len(errors),
            "percents": list(PERCENTS),
            "all": _radii(together),
            "series": {
                str(k): _radii(found) for k, found in groups.items() if not torch.isnan(found).all()
            },
        }


def _radii(residuals: Tensor) -> list[list[float | None]]:
    rows = []
    for percent in PERCENTS:
        radius = conformal_radius(residuals, percent).tolist()
        rows.append([None if math.isinf(value) else float(f"{value:.5g}") for value in radius])
    return rows
