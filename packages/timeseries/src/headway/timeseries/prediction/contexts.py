"""What a model reads of a panel at any origin, and what it answers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.errors import UserError
from headway.timeseries.data.clock import calendar_marks, following
from headway.timeseries.data.panel import Panel
from headway.timeseries.data.scaler import Scaler, scale_covariates
from headway.timeseries.prediction.predictor import Predictor

BATCH = 512  # windows of one series
SIDE_BY_SIDE = 1024  # series of all windows together

Floats = NDArray[np.float64]


class Contexts:
    """The windows of a panel for one model, scaled as it was trained.

    A model that was trained on a panel reads each series by itself; any other reads all of them side by
    side, which takes series that start and end together.

    Args:
        predictor: The model.
        panel: The series.
        learned: Steps of each series that a scaler may be measured on, if the model does not know it.
        ahead: Future covariates behind the end of each series, (S, steps, Kf); None repeats the last ones,
            which only an answer beyond the end reads.
    """

    def __init__(
        self,
        predictor: Predictor,
        panel: Panel,
        learned: NDArray[np.int64],
        ahead: Floats | None = None,
    ) -> None:
        self.predictor, self.panel, self.ahead = predictor, panel, ahead
        notes = predictor.notes
        self.length, self.horizon = predictor.context_length, predictor.model.horizon
        self.alone = bool(notes.get("panel"))
        parts = (panel.series(k)[:n] for k, n in enumerate(learned))
        self.scaler = predictor.scaler_of(Scaler.of_parts(parts, panel.names))
        self.kept = notes.get("covariates", {})
        # Places of the model's series among those of the panel, where they differ for it.
        self.order = predictor.order(panel.names, panel.name)
        if self.order is not None and len(self.order) != len(panel.names):
            more = ", ".join(n for n in panel.names if n not in predictor.notes["names"])
            raise UserError(
                f"{predictor.name} was built for {len(self.order)} series, {panel.name} has {more} besides; "
                "leave them out"
            )
        self.marks: NDArray[np.float32] | None = None
        if notes.get("marks"):
            # An own horizon longer than asked for ends behind the clock; its marks are needed all the same.
            found = calendar_marks(
                panel.clock.append(following(panel.clock, panel.step, self.horizon))
            )
            self.marks = found if found.shape[1] else None

    def answers(
        self, known: NDArray[np.int64], levels: Sequence[float]
    ) -> tuple[Floats, Floats | None]:
        """Forecasts all series from some origins: points, and quantiles if the model has them.

        Args:
            known: Steps of each series that are known; nothing behind them is read but future covariates.
            levels: Of the quantiles.

        Shape:
            known: (O, S). Output: (O, S, H), (O, S, H, levels).

        Raises:
            UserError: If the model reads series side by side and these do not lie so.
        """
        origins, series = known.shape
        self._check(known)
        points, spreads = [], []
        for items, ends, shape in self._parts(known):
            inputs = self._inputs(items, ends)
            mean, std = self.scaler.mean[items, None], self.scaler.std[items, None]
            x = (self._values(items, ends) - mean) / std
            if self.alone:
                x = x[:, :, None]
            else:
                x = x.reshape(*shape, self.length).transpose(0, 2, 1)
                if self.order is not None:
                    x = x[:, :, self.order]
                # The calendar is that of all series, so once for each origin.
                inputs = {name: part[:: shape[1]] for name, part in inputs.items()}
            point, spread = self.predictor.ask(x, inputs, levels)
            if not self.alone and self.order is not None:
                back = np.argsort(self.order)
                point = point[:, :, back]
                spread = None if spread is None else spread[:, :, back]
            point = np.moveaxis(point, 2, 1).reshape(len(items), self.horizon)
            points.append(point * std + mean)
            if spread is not None:
                spread = np.moveaxis(spread, 2, 1).reshape(len(items), self.horizon, -1)
                spreads.append(spread * std[..., None] + mean[..., None])
        point = np.concatenate(points).reshape(origins, series, self.horizon)
        if not spreads:
            return point, None
        return point, np.concatenate(spreads).reshape(origins, series, self.horizon, -1)

    def _check(self, known: NDArray[np.int64]) -> None:
        panel = self.panel
        if self.alone or (panel.first + known == (panel.first + known)[:, :1]).all():
            return
        raise UserError(
            f"{self.predictor.name} was trained on series side by side, those of {panel.name} do not all end "
            "at the same stamp; train it on a panel (PanelData), or give series that end together"
        )

    def _parts(self, known: NDArray[np.int64]) -> Iterator[tuple[Any, Any, tuple[int, int]]]:
        """Gives series and known steps of a batch of windows, and how many origins and series it has."""
        origins, series = known.shape
        if self.alone:
            items, ends = np.tile(np.arange(series), origins), known.ravel()
            for start in range(0, len(items), BATCH):
                part = slice(start, start + BATCH)
                yield items[part], ends[part], (1, len(items[part]))
            return
        most = int(np.clip(SIDE_BY_SIDE // series, 1, 128))
        for start in range(0, origins, most):
            part = known[start : start + most]
            yield np.tile(np.arange(series), len(part)), part.ravel(), part.shape

    def _values(self, items: NDArray[np.int64], ends: NDArray[np.int64]) -> Floats:
        """Returns what lies before the origins, (P, L); NaN before a series begins."""
        steps = ends[:, None] + np.arange(-self.length, 0)
        rows = self.panel.offsets[items, None] + np.maximum(steps, 0)
        return np.where(steps < 0, np.nan, self.panel.values[rows].astype(float))

    def _inputs(self, items: NDArray[np.int64], ends: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        panel, length = self.panel, self.length
        steps = np.maximum(ends[:, None] + np.arange(-length, self.horizon), 0)
        inside = np.minimum(steps, panel.lengths[items, None] - 1)
        rows = panel.offsets[items, None] + inside
        past, ahead = [], []
        if self.marks is not None:
            found = self.marks[panel.first[items, None] + steps]
            past.append(found[:, :length])
            ahead.append(found[:, length:])
        # A model without covariates is compared with one that reads them.
        if panel.future.shape[1] and "future" in self.kept:
            found = panel.future[rows].astype(float)
            if self.ahead is not None:
                beyond = np.clip(steps - panel.lengths[items, None], 0, self.ahead.shape[1] - 1)
                later = (steps > inside)[..., None]
                found = np.where(later, self.ahead[items[:, None], beyond], found)
            found = self._scaled("future", found)
            past.append(found[:, :length])
            ahead.append(found[:, length:])
        if panel.historical.shape[1] and "historical" in self.kept:
            past.append(self._scaled("historical", panel.historical[rows[:, :length]]))
        inputs = {}
        if past:
            inputs["marks"] = np.concatenate(past, axis=2)
        if ahead:
            inputs["future_marks"] = np.concatenate(ahead, axis=2)
        if panel.static.shape[1] and "static" in self.kept:
            inputs["static"] = self._scaled("static", panel.static[items])
        return inputs

    def _scaled(self, kind: str, values: NDArray[Any]) -> NDArray[np.float32]:
        return scale_covariates(Scaler.from_dict(self.kept[kind]), values)
