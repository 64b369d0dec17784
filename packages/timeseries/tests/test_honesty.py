"""Where nothing can be foretold no forecaster reports skill; a peek at the future shows at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

import headway.timeseries.models as models
from headway.timeseries.data import ForecastingData
from headway.timeseries.models import ForecastingModel
from headway.timeseries.models.probabilistic import point_forecast
from headway.timeseries.tasks import FittingLoss

LENGTH, HORIZON, ROWS = 32, 8, 16_000
SIZES: Any = {"context_length": LENGTH, "horizon": HORIZON}
SMALL: Any = {"dim": 16, "depth": 1, "heads": 2}
DECODER: Any = {"variates": 3, "decoder_depth": 1}
MADE: dict[str, Callable[[], ForecastingModel]] = {
    "ACEFormer": lambda: models.ACEFormer(**SIZES, **SMALL, **DECODER),
    "Autoformer": lambda: models.Autoformer(**SIZES, **SMALL, **DECODER, start=16, marks=4),
    "DLinear": lambda: models.DLinear(**SIZES),
    "ITransformer": lambda: models.ITransformer(**SIZES, **SMALL, future=True),
    "Informer": lambda: models.Informer(**SIZES, **SMALL, **DECODER, start=16, marks=4),
    "NLinear": lambda: models.NLinear(**SIZES),
    "Naive": lambda: models.Naive(**SIZES),
    "PatchTST": lambda: models.PatchTST(**SIZES, **SMALL, patch=8, stride=8),
    "QuantileForecaster": lambda: models.QuantileForecaster(
        backbone=models.NLinear(**SIZES), hidden=16
    ),
    "SAMformer": lambda: models.SAMformer(**SIZES),
    "SeasonalNaive": lambda: models.SeasonalNaive(**SIZES, period=24),
    "StudentTForecaster": lambda: models.StudentTForecaster(
        backbone=models.PatchTST(**SIZES, **SMALL, patch=8, stride=8), hidden=16
    ),
    "TimesFM": lambda: models.TimesFM(**SIZES, **SMALL, patch=8, output=HORIZON, hidden=16),
    "Transformer": lambda: models.Transformer(**SIZES, **SMALL, **DECODER, start=16, marks=4),
}
KINDS = ("walk", "shuffled")
# Slower than all others together: its envelopes are found series by series.
PROBED = [pytest.param(n, marks=pytest.mark.slow) if n == "ACEFormer" else n for n in MADE]


def test_every_forecaster_is_probed() -> None:
    found = {name: getattr(models, name) for name in models.list_models()}
    kinds = {name for name, kind in found.items() if issubclass(kind, ForecastingModel)}
    assert kinds - {"MomentEncoder"} == set(MADE)  # that one reconstructs windows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ForecastingData]:
    """Random walks; and seasons, whose windows get futures that are not theirs."""
    random, folder, found = np.random.default_rng(0), Path(tmp_path_factory.mktemp("probe")), {}
    noise = random.normal(size=(ROWS, 3))
    season = 3 * np.sin(2 * np.pi * (np.arange(ROWS)[:, None] + [0, 5, 9]) / 24) + noise
    for kind, values in zip(KINDS, (noise.cumsum(axis=0), season), strict=True):
        frame = pd.DataFrame(values, columns=list("abc"))
        frame.insert(0, "date", pd.date_range("2024-01-01", periods=ROWS, freq="h"))
        frame.to_csv(folder / f"{kind}.csv", index=False)
        found[kind] = ForecastingData(path=str(folder / f"{kind}.csv"), **SIZES)
        found[kind].setup()
    return found


def windows(
    part: object, places: Tensor, shuffle: bool, peek: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Windows; with the future of another one, moved to where this one ends, and ``peek`` steps of theirs.

    Which other one is drawn: a fixed distance would be a fixed part of the season.
    """
    batch = part.batch(places.tolist())  # pyright: ignore[reportAttributeAccessIssue]
    x, y = batch["x"], batch["y"]
    if shuffle:
        y = x[:, -1:] + (y - x[:, -1:])[torch.randperm(len(y), generator=generator)]
    seen = torch.cat([x, y[:, :peek]], dim=1)[:, peek:]
    return batch | {"x": seen, "y": y, "last": x[:, -1:]}


def skill(
    model: ForecastingModel,
    data: ForecastingData,
    shuffle: bool,
    seed: int,
    *,
    peek: int = 0,
    steps: int = 60,
) -> tuple[float, float]:
    """Trains for a while; returns skill against the last value, and its standard error.

    The stretches that are scored share no step, so what the last value misses in one says nothing of
    another.
    """
    generator = torch.Generator().manual_seed(seed)

    def answer(batch: dict[str, Tensor]) -> Tensor:
        return model(batch["x"], marks=batch["marks"], future_marks=batch["future_marks"])

    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=3e-3) if parameters else None
    assert data.train_set is not None
    assert data.test_set is not None
    for _ in range(steps if optimizer is not None else 0):
        places = torch.randint(len(data.train_set), (48,), generator=generator)
        batch = windows(data.train_set, places, shuffle, peek, generator)
        loss = FittingLoss()(answer(batch), batch["y"], model.quantiles).mean()
        assert optimizer is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    apart = torch.arange(0, len(data.test_set), HORIZON)
    batch = windows(data.test_set, apart, shuffle, peek, generator)
    with torch.inference_mode():
        said = point_forecast(answer(batch), model.quantiles)
    mine = (said - batch["y"]).abs().mean(dim=(1, 2))
    naive = (batch["last"] - batch["y"]).abs().mean(dim=(1, 2))
    gained = (naive - mine) / naive.mean()
    return gained.mean().item(), gained.std().item() / len(gained) ** 0.5


@pytest.mark.learns
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROBED)
def test_no_forecaster_has_skill_where_there_is_none(
    name: str, kind: str, data: dict[str, ForecastingData], seed: int, measured
) -> None:
    torch.manual_seed(seed)
    found, error = skill(MADE[name](), data[kind], kind == "shuffled", seed)
    measured("skill", found, below=0.05)
    if error:
        measured("skill in errors", found / error, below=3.0)


@pytest.mark.learns
@pytest.mark.parametrize("kind", KINDS)
def test_a_peek_at_the_future_is_found(
    kind: str, data: dict[str, ForecastingData], seed: int, measured
) -> None:
    torch.manual_seed(seed)
    model = models.NLinear(**SIZES)
    found, error = skill(model, data[kind], kind == "shuffled", seed, peek=2, steps=300)
    measured("skill in errors", found / error, above=10)
    measured("skill", found, above=0.1)


@pytest.mark.learns
def test_true_futures_give_skill(data: dict[str, ForecastingData], seed: int, measured) -> None:
    torch.manual_seed(seed)
    found, error = skill(models.NLinear(**SIZES), data["shuffled"], False, seed, steps=300)
    measured("skill in errors", found / error, above=10)
    measured("skill", found, above=0.3)
