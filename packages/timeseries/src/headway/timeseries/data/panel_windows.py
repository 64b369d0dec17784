"""Windows of a panel: each of one series, cut when it is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.timeseries.data.windows import Batch, Units


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """What the windows of all parts of a panel share.

    Args:
        values: Scaled, NaN where a value is missing; the series one behind the other.
        offsets: Where each series begins, and where the last one ends.
        first: Place of each series on the clock.
        calendar: Marks of the clock, reaching a horizon beyond its end; None without.
        future: Covariates known beyond the end, scaled.
        historical: Covariates known up to it, scaled.
        static: Of the series, scaled.
        units: Of the series.

    Shape:
        values: (T,). offsets: (S + 1,). first: (S,). calendar: (C, M). future: (T, Kf). historical: (T, Kh).
        static: (S, Ks).
    """

    values: Tensor
    offsets: Tensor
    first: Tensor
    calendar: Tensor | None
    future: Tensor
    historical: Tensor
    static: Tensor
    units: Units


class PanelWindows(Dataset[Batch]):
    """All windows of one part of every series.

    Args:
        rows: Of the panel.
        starts: First row of the part in each series, context included.
        ends: Row behind the last one.
        context_length: Steps that a model reads.
        horizon: Steps that it forecasts.
        name: Of the part, for messages.

    Shape:
        starts, ends: (S,). A batch has ``x`` (B, L, 1), ``y`` (B, H, 1), ``item`` (B,) and units (B, 1, 1);
        where there are such, ``mask``, ``y_mask``, ``marks`` (calendar, future, historical),
        ``future_marks`` (calendar, future) and ``static`` (B, Ks).

    Raises:
        UserError: If there is no window.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        starts: NDArray[np.int64],
        ends: NDArray[np.int64],
        context_length: int,
        horizon: int,
        name: str,
    ) -> None:
        self.rows = rows
        self.context_length, self.horizon = context_length, horizon
        self.starts = torch.from_numpy(starts)
        windows = np.maximum(ends - starts - context_length - horizon + 1, 0)
        self.bounds = torch.from_numpy(np.cumsum(windows))
        if len(self) < 1:
            raise UserError(
                f"the {name} part has no window: the longest of {len(starts)} series has "
                f"{int((ends - starts).max(initial=0))} rows there, one window needs context_length "
                f"{context_length} + horizon {horizon} = {context_length + horizon}; give longer series, a "
                "shorter context or horizon, or other borders"
            )

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def __getitem__(self, index: int) -> Batch:
        return {name: value[0] for name, value in self.batch([index]).items()}

    def place(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns the series of windows, and the row of the series that each begins at."""
        wanted = torch.as_tensor(indices)
        item = torch.searchsorted(self.bounds, wanted, right=True)
        before = torch.where(item > 0, self.bounds[(item - 1).clamp_min(0)], 0)
        return item, self.starts[item] + wanted - before

    def batch(self, indices: Sequence[int]) -> Batch:
        """Returns some windows."""
        shared, length = self.rows, self.context_length
        item, start = self.place(indices)
        steps = torch.arange(length + self.horizon)
        rows = (shared.offsets[item] + start)[:, None] + steps
        values = shared.values[rows][..., None]
        known = ~torch.isnan(values)
        found = {"item": item}
        if not known.all():
            values = values.masked_fill(~known, 0.0)
            found |= {"mask": known[:, :length], "y_mask": known[:, length:]}
        found |= {"x": values[:, :length], "y": values[:, length:]} | shared.units.of(item)
        ahead = [shared.future[rows]] if shared.future.shape[1] else []
        if shared.calendar is not None:
            ahead.insert(0, shared.calendar[(shared.first[item] + start)[:, None] + steps])
        past = [part[:, :length] for part in ahead]
        if shared.historical.shape[1]:
            past.append(shared.historical[rows[:, :length]])
        if past:
            found["marks"] = torch.cat(past, dim=2)
        if ahead:
            found["future_marks"] = torch.cat([part[:, length:] for part in ahead], dim=2)
        if shared.static.shape[1]:
            found["static"] = shared.static[item]
        return found
