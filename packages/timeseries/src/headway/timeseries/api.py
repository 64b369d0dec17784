"""Forecasting in Python: a long frame in, a long frame out."""

import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from headway.core.errors import UserError
from headway.core.training import Adam, OptimizerFactory, ScheduleFactory
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.timeseries.data.panel import Covariates, Panel, check_series, cut, panel_of
from headway.timeseries.data.steps import parse_step
from headway.timeseries.data.table import read_stamps
from headway.timeseries.models.base import ForecastingModel as Model
from headway.timeseries.prediction.panels import forecast_panel, panel_covariates
from headway.timeseries.prediction.predictor import Predictor, load_predictor

if TYPE_CHECKING:
    from headway.timeseries.tasks import ForecastLoss


class Forecaster:
    """Models with all that it takes to go from a frame to a forecast.

    Frames are long: ``unique_id, ds, y`` (or ``item_id, timestamp, target``) and columns of covariates.
    It trains as ``headway fit`` does, and what it leaves in ``folder`` is a run that the verbs take.

    Every ``fit`` starts from the weights that the models had when this object was made; the models that
    were given stay as they are.

    Args:
        model: A forecaster, trained or not; or several side by side, by name or in a list.
        optimizer: What moves the weights.
        schedule: How the learning rate moves, or None for a constant one.
        loss: What is made small; None for what fits the model.
        covariates: Which columns are covariates.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; read from the stamps of all series if None.
        epochs: Times that the training windows are seen.
        batch_size: Windows of a batch.
        validation: Share of each series that chooses the best epoch and calibrates intervals.
        marks: Whether the model is given calendar marks.
        folder: Where the run goes (of several models, a folder each in it); a temporary one if None.
        on_invalid: ``raise`` stops at a series that cannot be used, such as one that is too short; ``skip``
            leaves it out and says so.
        seed: Of the order of the windows.

    Raises:
        UserError: If there is no model, or models differ in horizon.
    """

    def __init__(
        self,
        model: Model | Sequence[Model] | Mapping[str, Model],
        *,
        optimizer: OptimizerFactory | None = None,
        schedule: ScheduleFactory | None = None,
        loss: "ForecastLoss | None" = None,
        covariates: Covariates | None = None,
        freq: str | None = None,
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
        self.models = _named(model)
        self.alone = isinstance(model, Model)
        # Copies: whatever happens to the models later, every fit begins where they are now.
        self._start = copy.deepcopy(self.models)
        self.horizon = next(iter(self.models.values())).horizon
        self.optimizer = optimizer or Adam(lr=1e-3)
        self.schedule, self.loss = schedule, loss
        self.covariates = covariates or Covariates()
        self.freq = None if freq is None else parse_step(freq)
        self.epochs, self.batch_size = epochs, batch_size
        self.validation, self.marks = validation, marks
        self.on_invalid: OnInvalid = on_invalid
        self.seed = seed
        # Kept alive with the forecaster; it goes when that goes.
        self._temporary = None if folder is not None else tempfile.TemporaryDirectory()
        self.folder = Path(folder if folder is not None else self._temporary.name)  # pyright: ignore
        self.predictors: dict[str, Predictor] = {}
        self.frame: pd.DataFrame | None = None

    @property
    def model(self) -> Model:
        """The first model as it was given."""
        return next(iter(self.models.values()))

    @property
    def predictor(self) -> Predictor | None:
        """The first model as ``fit`` trained it; None before."""
        return next(iter(self.predictors.values()), None)

    def fit(self, frame: pd.DataFrame) -> Self:
        """Trains on all series; the best epoch on their last part stays.

        Raises:
            InputError: If a series cannot be used; it is named.
        """
        self.predictors = self._trained(frame, self.folder)
        self.frame = frame.copy()
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
            A long frame; ``y-lo-80`` and ``y-hi-80`` are the ends of an interval. Several models have
            columns with their names in the place of ``y``.
        """
        if not self.predictors:
            raise UserError("this forecaster is not trained; call fit(frame) first")
        source = frame if frame is not None else self.frame
        assert source is not None
        steps = horizon if horizon is not None else self.horizon
        if steps < 1:
            raise UserError(f"horizon {steps} is below 1")
        panel = self._panel(source, self.predictors)
        return self._forecasts(self.predictors, panel, steps, level, future)

    def cross_validation(
        self,
        frame: pd.DataFrame,
        *,
        windows: int = 3,
        step_size: int | None = None,
        refit: bool | int = False,
        level: Sequence[float] = (),
    ) -> pd.DataFrame:
        """Forecasts the last ``windows`` stretches, each from its start, by copies trained before them.

        Models, and what ``fit`` left here, stay as they are.

        Args:
            frame: The series; one that has no training window before the stretches is named or, with
                ``on_invalid`` of ``skip``, left out.
            windows: Stretches of a horizon.
            step_size: Steps between their starts; a horizon if None, with less they overlap.
            refit: Trains before every stretch, from the same first weights; before every second or third one
                if a number says so; otherwise once, before the first one.
            level: Percents of intervals.

        Returns:
            The forecasts as ``predict`` gives them with ``cutoff``, the last known stamp, and what came as
            ``actual``.

        Raises:
            InputError: If a series is too short; it says how many steps are needed.
            UserError: If a number is below 1.
        """
        step = self.horizon if step_size is None else step_size
        for name, value in (("windows", windows), ("step_size", step)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name} {value!r} is no whole number of at least 1")
        if refit is not True and refit is not False and (not isinstance(refit, int) or refit < 1):
            raise UserError(f"refit {refit!r} is neither True, False nor a number of windows")
        panel = self._long_enough(self._panel(frame), windows, step)
        rows: Any = frame.copy()
        identity, time, target = panel.columns
        rows[identity] = rows[identity].astype(str)
        rows[time] = read_stamps(rows[time], "frame")
        rows = rows[rows[identity].isin(panel.names)]
        ends = {name: panel.stamps(k) for k, name in enumerate(panel.names)}
        future = rows if self.covariates.future else None
        every = windows if refit is False else int(refit)
        parts: list[Any] = []
        trained: dict[str, Predictor] = {}
        with tempfile.TemporaryDirectory() as folder:
            for turn in range(windows):
                left = self.horizon + (windows - 1 - turn) * step
                cutoff = {name: stamps[-1 - left] for name, stamps in ends.items()}
                if turn % every == 0:
                    past = rows[rows[time] <= rows[identity].map(cutoff)]
                    trained = self._trained(past, Path(folder) / str(turn))
                    panel = self._panel(rows, trained)
                found: Any = self._forecasts(trained, cut(panel, left), self.horizon, level, future)
                parts.append(found.assign(cutoff=found[identity].map(cutoff)))
        joined = pd.concat(parts, ignore_index=True)
        truth = rows[[identity, time, target]].rename(columns={target: "actual"})
        return joined.merge(truth, on=[identity, time], how="left")

    def _trained(self, frame: pd.DataFrame, folder: Path) -> dict[str, Predictor]:
        """Trains copies of the models as they were at first, each in a folder."""
        return {
            name: self._train(copy.deepcopy(model), frame, folder if self.alone else folder / name)
            for name, model in self._start.items()
        }

    def _train(self, model: Model, frame: pd.DataFrame, folder: Path) -> Predictor:
        # Here and not above: it takes longer to load than everything else together.
        from lightning.pytorch import Trainer, seed_everything

        from headway.core.training import RunRecorder
        from headway.timeseries.data.frame_data import FrameData
        from headway.timeseries.tasks import Forecasting

        seed_everything(self.seed, verbose=False)
        share = self.validation
        data = FrameData(
            frame,
            context_length=model.context_length,
            horizon=model.horizon,
            # The test part must exist; nobody looks at it.
            borders=[1 - share, share, 0.0],
            freq=self.freq,
            marks=self.marks,
            on_invalid=self.on_invalid,
            batch_size=self.batch_size,
            eval_batch_size=256,
            seed=self.seed,
            historical=list(self.covariates.historical),
            future=list(self.covariates.future),
            static=list(self.covariates.static),
        )
        task = Forecasting(
            backbone=model, optimizer=self.optimizer, schedule=self.schedule, loss=self.loss
        )
        trainer = Trainer(
            max_epochs=self.epochs,
            default_root_dir=str(folder),
            callbacks=[RunRecorder()],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(task, data)
        return load_predictor(str(folder), name=type(model).__name__)

    def _forecasts(
        self,
        predictors: Mapping[str, Predictor],
        panel: Panel,
        horizon: int,
        level: Sequence[float],
        future: pd.DataFrame | None,
    ) -> pd.DataFrame:
        """Returns the forecasts of all models side by side."""
        identity, time, target = panel.columns
        joined: Any = None
        for name, predictor in predictors.items():
            found: Any = forecast_panel(
                predictor,
                panel,
                horizon,
                percents=level,
                future=future,
                on_invalid=self.on_invalid,
            )
            if not self.alone:
                own = [column for column in found.columns if column not in (identity, time)]
                found = found.rename(columns={c: name + c[len(target) :] for c in own})
            joined = (
                found if joined is None else joined.merge(found, on=[identity, time], how="outer")
            )
        return joined

    def _long_enough(self, panel: Panel, windows: int, step: int) -> Panel:
        """Returns the series that leave a training window before the stretches, as the policy says."""
        context = max(model.context_length for model in self.models.values())
        left = self.horizon + (windows - 1) * step
        invalid = InvalidItems(self.on_invalid, "series")
        why = (
            f"context {context} + horizon {self.horizon} to train on, and {left} for {windows} windows, "
            f"{step} apart"
        )
        found = check_series(panel, invalid, context + self.horizon + left, why)
        invalid.log(len(panel.names))
        return found

    def _panel(self, frame: pd.DataFrame, trained: Mapping[str, Predictor] | None = None) -> Panel:
        """Reads a frame; its words become numbers as in training."""
        invalid = InvalidItems(self.on_invalid, "series")
        panel = panel_of(
            frame,
            "frame",
            covariates=panel_covariates(next(iter(trained.values())))
            if trained
            else self.covariates,
            invalid=invalid,
            freq=self.freq,
            usual=next(iter(trained.values())).notes["step"] if trained else None,
        )
        invalid.log(len(panel.names) + len(invalid.errors))
        return panel


def _named(model: Model | Sequence[Model] | Mapping[str, Model]) -> dict[str, Model]:
    """Returns models by name: of their class, with a number where there are several of one."""
    if isinstance(model, Mapping):
        found = dict(model)
    else:
        models = [model] if isinstance(model, Model) else list(model)
        found = {}
        for one in models:
            name = type(one).__name__
            again = sum(type(other) is type(one) for other in found.values())
            found[f"{name}{again}" if again else name] = one
    for name, one in found.items():
        if not isinstance(name, str) or not name or set(name) & set("/\\\0"):
            raise UserError(f"{name!r} is no name of a model: it is a column and a folder, too")
        if not isinstance(one, Model):
            raise UserError(f"{name} is a {type(one).__name__}, which is no forecaster")
    horizons = {one.horizon for one in found.values()}
    if len(horizons) != 1:
        raise UserError(
            f"the models forecast {sorted(horizons)} steps; side by side they need one horizon"
            if found
            else "there is no model; give a forecaster, or several"
        )
    return found
