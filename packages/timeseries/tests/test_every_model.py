"""Every model of the domain, copied, moved, saved and exported with free sizes."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.mixers import WindowAttention
from headway.core.testing.models import Case, check_copies, check_graph
from headway.timeseries import models as m
from headway.timeseries.fields import models as f

SMALL = {"context_length": 12, "horizon": 5, "dim": 16, "depth": 1, "heads": 2}
BUILT: dict[str, Any] = {**SMALL, "variates": 3}
LENGTHS = {"context_length": 12, "horizon": 5}
WINDOWS = (
    partial(WindowAttention, window=4),
    partial(WindowAttention, window=4, shift=2),
)


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def windows(batch: int, series: int) -> tuple[Tensor]:
    return (draw(batch, 12, series).cumsum(1),)


def three_series(batch: int, size: int) -> tuple[Tensor]:
    return windows(batch, 3)


def sequences(batch: int, steps: int) -> tuple[Tensor]:
    return (draw(batch, steps, 3),)


def itransformer(horizon: int = 5) -> nn.Module:
    return m.ITransformer(**{**SMALL, "horizon": horizon})


def of_any_series(make: Any) -> Case:
    return Case(make=make, inputs=windows, sizes=(3, 6, 70))


def of_three_series(make: Any, **options: Any) -> Case:
    return Case(make=make, inputs=three_series, **options)


def of_any_length(make: Any) -> Case:
    return Case(make=make, inputs=sequences, sizes=(12, 13, 30))


CLASSES = {"features": 3, "num_classes": 4}
CASES = {
    # Sifting decides by the numbers when it ends.
    "ACEFormer": of_three_series(lambda: m.ACEFormer(**BUILT), narrow=False),
    "Autoformer": of_three_series(lambda: m.Autoformer(**BUILT, start=6, window=5)),
    "DLinear": of_any_series(lambda: m.DLinear(**LENGTHS, window=5)),
    "DiffusionTS": Case(
        make=lambda: m.DiffusionTS(features=3, length=12, dim=16, heads=2),
        inputs=lambda batch, size: (draw(batch, 12, 3), torch.arange(batch)),
    ),
    "FactFormer": Case(
        make=lambda: f.FactFormer(dim=16, depth=1, heads=2),
        inputs=lambda batch, rows: (draw(batch, 1, rows, 8),),
        sizes=(8, 12),
    ),
    "ForecasterClassifier": of_three_series(
        lambda: m.ForecasterClassifier(backbone=itransformer(12), **CLASSES)
    ),
    "GNOT": Case(
        make=lambda: f.GNOT(dim=16, depth=1, heads=2, experts=2),
        inputs=lambda batch, points: (draw(batch, points, 2), [draw(batch, 7, 3)]),
        sizes=(9, 5, 20),
    ),
    "ITransformer": of_any_series(itransformer),
    "Informer": of_three_series(lambda: m.Informer(**BUILT, start=6)),
    "LMUFormer": of_any_length(lambda: m.LMUFormer(**CLASSES, dim=16)),
    "LSFAN": of_any_length(lambda: m.LSFAN(**CLASSES, channels=(8, 8), heads=2)),
    "MomentEncoder": of_three_series(
        lambda: m.MomentEncoder(variates=3, context_length=12, dim=16, depth=1, heads=2)
    ),
    "NLinear": of_any_series(lambda: m.NLinear(**LENGTHS)),
    "Naive": of_any_series(lambda: m.Naive(**LENGTHS)),
    "PDETransformer": Case(
        make=lambda: f.PDETransformer(patch=2, dim=16, depth=2, levels=2, heads=2, mixer=WINDOWS),
        inputs=lambda batch, size: (draw(batch, 1, 16, 16), None, draw(batch, 1)),
    ),
    "PDETransformerSC": Case(
        make=lambda: f.PDETransformerSC(patch=2, dim=16, depth=(1, 1, 1), heads=2, window=4),
        inputs=lambda batch, size: (draw(batch, 1, 16, 16),),
    ),
    "PatchTST": of_any_series(lambda: m.PatchTST(**SMALL, patch=4, stride=2)),
    "QuantileForecaster": of_any_series(
        lambda: m.QuantileForecaster(backbone=itransformer(), hidden=8)
    ),
    "SAMformer": of_any_series(lambda: m.SAMformer(**LENGTHS)),
    "SeasonalNaive": of_any_series(lambda: m.SeasonalNaive(period=4, **LENGTHS)),
    "SeriesClassifier": of_any_length(
        lambda: m.SeriesClassifier(**CLASSES, dim=16, depth=1, heads=2)
    ),
    "StudentTForecaster": of_any_series(
        lambda: m.StudentTForecaster(backbone=itransformer(), hidden=8)
    ),
    "SwinLSTM": Case(
        make=lambda: f.SwinLSTM(dim=16, heads=2),
        inputs=lambda batch, size: (draw(batch, 3, 1, 16, 16).sigmoid(),),
    ),
    "TRADES": Case(
        make=lambda: m.TRADES(order=3, book=4, past=7, dim=8, depth=1),
        inputs=lambda batch, size: (
            draw(batch, 1, 3),
            torch.arange(batch),
            draw(batch, 7, 3),
            draw(batch, 7, 4),
        ),
    ),
    "TimesFM": of_any_series(lambda: m.TimesFM(**SMALL, patch=4, output=8, hidden=16)),
    "Transformer": of_three_series(lambda: m.Transformer(**BUILT, start=6)),
}


def test_every_model_has_a_case() -> None:
    assert CASES.keys() == {*m.list_models(), *f.list_models()}


@pytest.mark.parametrize("name", CASES)
def test_copies_of_a_model_answer_as_it_does(name: str, tmp_path: Path) -> None:
    check_copies(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name != "ACEFormer"])
def test_it_exports_with_free_sizes(name: str, tmp_path: Path) -> None:
    check_graph(CASES[name], tmp_path / "model.pt2")


def test_sifting_cannot_be_exported_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"SlowPart cannot be exported.*envelopes=None"):
        check_graph(CASES["ACEFormer"], tmp_path / "model.pt2")
