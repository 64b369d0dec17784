"""Forecasting in Python: a long frame in, a long frame out."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd

from headway.core.errors import UserError
from headway.core.training import Adam, OptimizerFactory, RunRecorder, ScheduleFactory
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.timeseries.data.panel import Covariates, Panel, cut, panel_of
from headway.timeseries.data.panel_data import PanelData
from headway.timeseries.data.table import read_stamps
from headway.timeseries.models.base import Forecaster as Model
from headway.timeseries.tasks import Forecasting, ForecastLoss
from headway.timeseries.verbs.loading import Predictor, load_predictor
from headway.timeseries.verbs.panels import forecast_panel


class _Frame(PanelData):
    """A panel from a frame in memory."""

    def __init__(self, frame: pd.DataFrame, **options: Any) -> None:
        super().__init__(path="frame", **options)
        self.frame = frame

    def read(self) -> Panel:
        return panel_of(self.frame, "frame", covariates=self.columns, invalid=self.invalid)


class Forecaster:
    """A model with all that it takes to go from a frame to a forecast.

    Frames are long: ``unique_id, ds, y`` (or ``item_id, timestamp, target``) and columns of covariates.
    It trains as ``headway fit`` does, and what it leaves in ``folder`` is a run that the verbs take.

    Args:
        model: A forecaster, trained or not; ``fit`` trains a model in place.
        optimizer: What moves the weights.
        schedule: How the learning rate moves, or None for a constant one.
        loss: What is made small; None for what fits the model.
        covariates: Which columns are covariates.
        epochs: Times that the training windows are seen.
        batch_size: Windows of a batch.
        validation: Share of each series that chooses the best epoch and calibrates intervals.
        marks: Whether the model is given calendar marks.
        folder: Where the run goes; a temporary one if None.
        on_invalid: ``raise`` stops at a series that cannot be used, ``skip`` leaves it out.
        seed: Of the order of the windows.
    """

    def __init__(
        self,
        model: Model,
        *,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        loss: ForecastLoss | None = None,
        covariates: Covariates | None = None,
        epochs: int = 10,
        batch_size: int = 32,
        validation: float = 0.2,
        marks: bool = False,
        folder: str | Path | None = None,
        on_invalid: OnInvalid = "raise",
        seed: int = 0,
    ) -> None:
        if not 0 < validation < 0.9:
            raise UserError(f"validation {validation} is no share between 0 and 0.9, such as 0.2")
        self.model = model
        self.optimizer = optimizer or Adam(lr=1e-3)
        self.schedule, self.loss = schedule, loss
        self.covariates = covariates or Covariates()
        self.epochs, self.batch_size = epochs, batch_size
        self.validation, self.marks = validation, marks
        self.on_invalid: OnInvalid = on_invalid
        self.seed = seed
        # Kept alive with the forecaster; it goes when that goes.
        self._temporary = None if folder is not None else tempfile.TemporaryDirectory()
        self.folder = Path(folder if folder is not None else self._temporary.name)  # pyright: ignore
        self.predictor: Predictor | None = None
        self.frame: pd.DataFrame | None = None

    def fit(self, frame: pd.DataFrame) -> Self:
        """Trains on all series; the best epoch on their last part stays.

        Raises:
            InputError: If a series cannot be used; it is named.
        """
        from lightning.pytorch import Trainer, seed_everything

        seed_everything(self.seed, verbose=False)
        share = self.validation
        data = _Frame(
            frame,
            context_length=self.model.context_length,
            horizon=self.model.horizon,
            # The test part must exist; nobody looks at it.
            borders=[1 - share, share, 0.0],
            marks=self.marks,
            on_invalid=self.on_invalid,
            batch_size=self.batch_size,
            eval_batch_size=256,
            seed=self.seed,
            **self.covariates.as_dict(),
        )
        task = Forecasting(
            backbone=self.model, optimizer=self.optimizer, schedule=self.schedule, loss=self.loss
        )
        trainer = Trainer(
            max_epochs=self.epochs,
            default_root_dir=str(self.folder),
            callbacks=[RunRecorder()],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, data)
        self.predictor = load_predictor(str(self.folder), name=type(self.model).__name__)
        self.frame = frame
        return self

    def predict(
        self,
        horizon: int | None = None,
        *,
        frame: pd.DataFrame | None = None,
        future: pd.DataFrame | None = None,
        level: Sequence[float] = (),
    ) -> pd.DataFrame:
        """Continues series.

        Args:
            horizon: Steps; those of the model if None. Beyond them it reads its own forecasts.
            frame: The series; those of ``fit`` if None.
            future: The future covariates.
            level: Percents of intervals, such as [80].

        Returns:
            A long frame; ``y-lo-80`` and ``y-hi-80`` are the ends of an interval.
        """
        predictor, source = self._fitted(), frame if frame is not None else self.frame
        assert source is not None
        panel = self._panel(source)
        return forecast_panel(
            predictor,
            panel,
            horizon or predictor.model.horizon,
            percents=level,
            future=future,
            on_invalid=self.on_invalid,
        )

    def cross_validation(
        self, frame: pd.DataFrame, *, windows: int = 3, level: Sequence[float] = ()
    ) -> pd.DataFrame:
        """Trains on all but the last ``windows`` horizons, and forecasts each of them from its start.

        Args:
            frame: The series.
            windows: Stretches that are forecast; the model is trained once, before them.
            level: Percents of intervals.

        Returns:
            The forecasts with ``cutoff``, the last known stamp, and what came as ``actual``.
        """
        if windows < 1:
            raise UserError(f"windows {windows} is below 1")
        panel, horizon = self._panel(frame), self.model.horizon
        rows: Any = frame.copy()
        identity, time, target = panel.columns
        ends = {name: panel.stamps(k) for k, name in enumerate(panel.names)}
        rows[identity] = rows[identity].astype(str)
        rows[time] = read_stamps(rows[time], "frame")
        last = {name: stamps[-1 - windows * horizon] for name, stamps in ends.items()}
        self.fit(rows[rows[time] <= rows[identity].map(last)])
        future = rows if self.covariates.future else None
        parts: list[Any] = []
        for back in range(windows, 0, -1):
            found: Any = forecast_panel(
                self._fitted(), cut(panel, back * horizon), horizon, percents=level, future=future
            )
            cutoff = {name: stamps[-1 - back * horizon] for name, stamps in ends.items()}
            parts.append(found.assign(cutoff=found[identity].map(cutoff)))
        joined = pd.concat(parts, ignore_index=True)
        truth = rows[[identity, time, target]].rename(columns={target: "actual"})
        return joined.merge(truth, on=[identity, time], how="left")

    def _panel(self, frame: pd.DataFrame) -> Panel:
        invalid = InvalidItems(self.on_invalid, "series")
        return panel_of(frame, "frame", covariates=self.covariates, invalid=invalid)

    def _fitted(self) -> Predictor:
        if self.predictor is None:
            raise UserError("this forecaster is not trained; call fit(frame) first")
        return self.predictor
