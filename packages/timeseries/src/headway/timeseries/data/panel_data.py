"""The data of a forecasting task: a panel of series, each by itself."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.core.errors import InputError, UserError
from headway.core.training import Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.timeseries.data.base import ForecastOptions, WindowData
from headway.timeseries.data.borders import find_borders, parse_borders
from headway.timeseries.data.clock import calendar_marks, following
from headway.timeseries.data.frames import read_frame
from headway.timeseries.data.gluonts import panel_of_entries, read_entries
from headway.timeseries.data.panel import Covariates, Panel, check_series, panel_of
from headway.timeseries.data.panel_windows import PanelWindows, Rows
from headway.timeseries.data.scaler import Scaler, scale_covariates
from headway.timeseries.data.seasonal import seasonal_errors
from headway.timeseries.data.windows import Units


class PanelOptions(ForecastOptions, total=False):
    """What a ``PanelData`` of another source passes on."""

    borders: str | list[float]
    historical: list[str] | None
    future: list[str] | None
    static: list[str] | None
    freq: str | None
    on_invalid: OnInvalid
    marks: bool


class PanelData(WindowData):
    """Windows of many series of different lengths, one series at a time, with covariates.

    Each series is split by shares of its own length and scaled by its own training part. Covariates are
    scaled by all training parts together.

    Args:
        path: A long file (CSV or parquet: unique_id, ds, y, and covariates), or JSON lines of GluonTS
            entries.
        borders: Shares of training, validation and test.
        historical: Columns that are known up to the last value.
        future: Columns that are known for the steps to forecast, too.
        static: Columns that are the same at every moment of a series.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; read from the stamps of all series together if
            None. GluonTS entries need it.
        on_invalid: ``raise`` stops at the first series that cannot be used, ``skip`` leaves such series out
            and says how many there were.
        marks: Whether the model is given calendar marks.
        **windows: As of every ``WindowData``: context_length, horizon, period, batch_size, and of every
            ``DataModule``.

    Raises:
        InputError: If a series cannot be used; it is named.
    """

    def __init__(
        self,
        *,
        path: str,
        borders: str | list[float] = "0.7 0.1 0.2",
        historical: list[str] | None = None,
        future: list[str] | None = None,
        static: list[str] | None = None,
        freq: str | None = None,
        on_invalid: OnInvalid = "raise",
        marks: bool = False,
        **windows: Passed[ForecastOptions],
    ) -> None:
        super().__init__(marks=marks, **windows)
        self.path, self.freq = path, freq
        self.borders = parse_borders(borders)
        if isinstance(self.borders, str):
            raise UserError(
                f"a panel is split by shares such as 0.7 0.1 0.2, got {self.borders!r}: its series differ "
                "in length"
            )
        self.columns = Covariates(
            historical=historical or (), future=future or (), static=static or ()
        )
        self.invalid = InvalidItems(on_invalid, "series")
        self.panel: Panel | None = None
        self.scaler: Scaler | None = None

    def read(self) -> Panel:
        """Returns the series of the file."""
        if Path(self.path).suffix in (".jsonl", ".json"):
            if any(self.columns.as_dict().values()):
                raise UserError(
                    "GluonTS entries name their covariates themselves; leave the names out"
                )
            entries = read_entries(self.path)
            return panel_of_entries(entries, self.path, freq=self.freq, invalid=self.invalid)
        frame = read_frame(self.path)
        return panel_of(
            frame, self.path, covariates=self.columns, invalid=self.invalid, freq=self.freq
        )

    def setup(self, stage: str | None = None) -> None:
        """Reads, checks, scales and cuts the series, once."""
        if self.panel is not None:
            return
        length = self.of_model("context_length", self.context_length)
        horizon = self.of_model("horizon", self.horizon)
        panel = self.read()
        total = len(panel.names) + len(self.invalid.errors)
        why = f"context_length {length} + horizon {horizon}"
        panel = self._learnable(check_series(panel, self.invalid, length + horizon, why))
        self.invalid.log(total)
        borders = [find_borders(n, self.borders) for n in panel.lengths]
        train = np.array([border.train for border in borders])
        self.scaler = Scaler.of_parts(
            (panel.series(k)[: max(train[k], 1)] for k in range(len(train))), panel.names
        )
        rows = self._rows(panel, train, horizon)
        parts: dict[str, PanelWindows | None] = {}
        for name, share in zip(("train", "val", "test"), (1.0, *self.borders[1:]), strict=True):
            if not share:
                parts[name] = None
                continue
            spans = np.array([border.part(name, length) for border in borders])
            parts[name] = PanelWindows(
                rows,
                starts=spans[:, 0],
                ends=spans[:, 1],
                context_length=length,
                horizon=horizon,
                name=name,
            )
        self.use(parts, panel.names, length, horizon)
        self.panel = panel

    @property
    def covariates(self) -> dict[str, list[str]]:
        """Kind -> names of the columns that a model must read."""
        return {} if self.panel is None else self.panel.covariates.as_dict()

    def preprocessing(self) -> dict[str, Any]:
        """Returns scalers, the step of time, the lengths of a window and the covariates."""
        self.setup()
        assert self.scaler is not None
        assert self.panel is not None
        return {
            **self.scaler.as_dict(),
            "step": self.panel.step,
            "context_length": self.length,
            "horizon": self.steps,
            "marks": self.with_marks,
            "panel": True,
            "covariates": {
                "columns": self.columns.as_dict(),
                "words": {name: list(words) for name, words in self.panel.covariates.words.items()},
                **{kind: scaler.as_dict() for kind, scaler in self.covariate_scalers.items()},
            },
        }

    def _learnable(self, panel: Panel) -> Panel:
        """Returns the panel without series that cannot be scaled, if the policy allows."""
        good = []
        for place, series in enumerate(panel.names):
            train = find_borders(int(panel.lengths[place]), self.borders).train
            if np.isnan(panel.series(place)[: max(train, 1)]).all():
                reason = f"has no value in its training part, the first {train} steps"
                self.invalid.add(InputError(f"{panel.name}, series {series}", reason))
            else:
                good.append(place)
        if not good:
            raise InputError(panel.name, "none of its series has a value in its training part")
        return panel.only(good)

    def _rows(self, panel: Panel, train: NDArray[np.int64], horizon: int) -> Rows:
        assert self.scaler is not None
        scaler = self.scaler
        values = np.empty(len(panel.values), dtype=np.float32)
        for place, (start, end) in enumerate(
            zip(panel.offsets[:-1], panel.offsets[1:], strict=True)
        ):
            # In double precision until it is centred: a meter at 98 765 432 moves by a fifth an hour.
            values[start:end] = (panel.values[start:end] - scaler.mean[place]) / scaler.std[place]
        seasonal = None
        if self.period is not None:
            errors = [
                seasonal_errors(panel.series(k)[:end, None].astype(float), self.period)[0]
                for k, end in enumerate(train)
            ]
            seasonal = torch.tensor(np.array(errors) / scaler.std, dtype=torch.float32)
        calendar = None
        if self.with_marks:
            clock = panel.clock.append(following(panel.clock, panel.step, horizon))
            found = calendar_marks(clock)
            calendar = torch.from_numpy(found) if found.shape[1] else None
        learned = np.concatenate(
            [np.arange(start, start + n) for start, n in zip(panel.offsets, train, strict=False)]
        )
        self.covariate_scalers = {
            "historical": Scaler.fit(panel.historical[learned], panel.covariates.historical),
            "future": Scaler.fit(panel.future[learned], panel.covariates.future),
            "static": Scaler.fit(panel.static, panel.covariates.static),
        }
        scaled = {
            kind: torch.from_numpy(scale_covariates(own, getattr(panel, kind)))
            for kind, own in self.covariate_scalers.items()
        }
        return Rows(
            values=torch.from_numpy(values),
            offsets=torch.from_numpy(panel.offsets),
            first=torch.from_numpy(panel.first),
            calendar=calendar,
            units=Units(
                centre=torch.from_numpy(scaler.mean),
                scale=torch.from_numpy(scaler.std),
                seasonal=seasonal,
            ),
            **scaled,
        )
