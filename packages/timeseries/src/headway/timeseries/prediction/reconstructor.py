"""A trained model that answers with the windows that it reads, over the rows of a whole file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headway.core.cli.loading import load_model
from headway.core.errors import InputError, UserError
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.table import SeriesTable
from headway.timeseries.models.base import ForecastingModel
from headway.timeseries.models.reconstruction import check_reconstructs, reconstruct
from headway.timeseries.prediction.notes import read_notes
from headway.timeseries.prediction.predictor import Predictor

BATCH = 256  # windows that are asked at once


@dataclass(frozen=True, kw_only=True)
class Reconstructor:
    """A model ready to reconstruct windows.

    Args:
        predictor: The model with what its series must go through.
    """

    predictor: Predictor

    @property
    def notes(self) -> dict[str, Any]:
        """Contents of ``preprocessing.json``."""
        return self.predictor.notes

    @property
    def length(self) -> int:
        """Steps of a window."""
        return self.predictor.context_length

    def check(self, table: SeriesTable) -> None:
        """Raises if a file is shorter than a window, has other steps of time, or other series.

        Raises:
            InputError: It says what the model was trained on.
        """
        if len(table.stamps) < self.length:
            raise InputError(
                table.name,
                f"has {len(table.stamps)} rows, the model reads {self.length} (its context_length)",
            )
        self.predictor.check_step(table.name, table.step)
        self.predictor.order(table.names, table.name)
        variates = getattr(self.predictor.model, "variates", None)
        if variates is not None and variates != len(table.names):
            raise InputError(
                table.name,
                f"has {len(table.names)} series, the model was built for {variates}: "
                f"{', '.join(self.notes.get('names', [])[:10])}",
            )

    @torch.inference_mode()
    def answers(
        self, table: SeriesTable, scaler: Scaler, starts: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Yields first rows of some windows with their scaled reconstructions, a batch at a time.

        Args:
            table: The series, NaN where missing.
            scaler: Of the series.
            starts: First rows of the windows.

        Shape:
            starts: (W,). Output: (B,), (B, L, N).
        """
        device = self.predictor.device
        places = self.predictor.order(table.names, table.name)
        known = ~np.isnan(table.values)
        scaled = np.where(known, scaler.forward(table.values), 0.0)
        if places is not None:
            known, scaled = known[:, places], scaled[:, places]
        marks = self.predictor.marks(table.stamps)
        for batch in np.split(starts, range(BATCH, len(starts), BATCH)):
            rows = batch[:, None] + np.arange(self.length)
            x = torch.from_numpy(scaled[rows]).float().to(device)
            mask = None if known.all() else torch.from_numpy(known[rows]).to(device)
            calendar = None if marks is None else torch.from_numpy(marks[rows]).float().to(device)
            answer = reconstruct(self.predictor.model, x, mask=mask, marks=calendar)
            found = answer.double().cpu().numpy()
            if places is not None:
                found = found[..., np.argsort(places)]
            yield batch, found


def load_reconstructor(source: str, device: str | None, task: str, remedy: str) -> Reconstructor:
    """Loads a run folder, a checkpoint, a directory or a hub id.

    Args:
        source: What ``-m`` was given.
        device: Where the model goes.
        task: What it must have been trained for.
        remedy: The recipe that trains such a model.

    Raises:
        UserError: If it was trained for something else.
    """
    otherwise = f"which was not trained for {task}; train one with headway fit -c {remedy}"
    model, place = load_model(source, device, ForecastingModel, otherwise)
    notes = read_notes(source)
    if notes.get("task") != task:
        raise UserError(f"{source} holds a {type(model).__name__}, {otherwise}")
    check_reconstructs(model)
    return Reconstructor(predictor=Predictor(name=source, model=model, notes=notes, device=place))
