"""Windows of series: views of one table, cut when they are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training.loader import Seeded

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Units:
    """What takes scaled series back to their units, and what scores compare with.

    Args:
        centre: Value in the units of the series that is scaled to 0.
        scale: Length in the units of the series that is scaled to 1.
        seasonal: Mean absolute error of the scaled seasonal naive forecast in the training part; None
            without a period.

    Shape:
        All: (N,).
    """

    centre: Tensor
    scale: Tensor
    seasonal: Tensor | None = None

    def of(self, places: Tensor | None = None) -> Batch:
        """Returns what a batch holds: of all series, or of one series for each window.

        Shape:
            places: (B,). Output: (1, 1, N) or (B, 1, 1) each.
        """
        found = {"centre": self.centre, "scale": self.scale}
        if self.seasonal is not None:
            found["seasonal"] = self.seasonal
        if places is None:
            return {name: value[None, None] for name, value in found.items()}
        return {name: value[places, None, None] for name, value in found.items()}


class Windows(Dataset[Batch]):
    """All windows of a part of a table.

    Args:
        values: Scaled series; what stands in the place of missing values does not matter.
        mask: True where a value is known; None if all are.
        marks: Calendar marks; None without.
        targets: True for the series that are to be forecast; None if all are. The others are read alone.
        units: Of the series.
        start: First row of the part, context included.
        end: Row behind the last one of the part.
        context_length: Steps that a model reads.
        horizon: Steps that it forecasts.
        name: Of the part, for messages.

    Shape:
        values, mask: (T, N). marks: (T, M). targets: (N,). A batch has ``x`` (B, L, N) and ``y`` (B, H, N);
        with missing values ``mask`` and ``y_mask``, with marks ``marks`` and ``future_marks``, with units
        ``centre``, ``scale`` and perhaps ``seasonal`` (1, 1, N). A value that is no target is missing in
        ``y_mask``.

    Raises:
        UserError: If the part is shorter than one window.
    """

    def __init__(
        self,
        values: Tensor,
        *,
        mask: Tensor | None,
        marks: Tensor | None,
        targets: Tensor | None = None,
        units: Units | None = None,
        start: int,
        end: int,
        context_length: int,
        horizon: int,
        name: str,
    ) -> None:
        self.values, self.mask, self.marks = values, mask, marks
        self.targets, self.units = targets, units
        self.start, self.end = start, end
        self.context_length, self.horizon = context_length, horizon
        if len(self) < 1:
            raise UserError(
                f"the {name} part has {end - start} rows, one window needs context_length "
                f"{context_length} + horizon {horizon} = {context_length + horizon}; give a longer "
                "file, a shorter context or horizon, or other borders"
            )

    def __len__(self) -> int:
        return max(0, self.end - self.start - self.context_length - self.horizon + 1)

    def __getitem__(self, index: int) -> Batch:
        return {name: value[0] for name, value in self.batch([index]).items()}

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns the windows that start at some rows of the part."""
        length = self.context_length
        first = torch.as_tensor(indices)[:, None] + self.start
        rows = first + torch.arange(length + self.horizon)
        values = self.values[rows]
        found = {"x": values[:, :length], "y": values[:, length:]}
        if self.mask is not None:
            mask = self.mask[rows]
            found |= {"mask": mask[:, :length], "y_mask": mask[:, length:]}
        if self.targets is not None:
            known = found.get("y_mask", torch.ones_like(found["y"], dtype=torch.bool))
            found["y_mask"] = known & self.targets
        if self.units is not None:
            found |= self.units.of()
        if self.marks is not None:
            marks = self.marks[rows]
            found |= {"marks": marks[:, :length], "future_marks": marks[:, length:]}
        return found


class WindowBatches(Seeded):
    """Whole batches of windows; they draw nothing, so no generator needs a seed."""

    data: Any  # Windows or PanelWindows

    def __getitems__(self, places: list[int | tuple[int, int]]) -> Batch:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns the collated batch of some places, which are indices or (epoch, index)."""
        return self.data.batch([p[1] if isinstance(p, tuple) else p for p in places])

    def __getitem__(self, place: int | tuple[int, int]) -> Batch:
        return {name: value[0] for name, value in self.__getitems__([place]).items()}
