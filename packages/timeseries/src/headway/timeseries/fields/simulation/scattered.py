"""Darcy flow at scattered points: meshes of any size, no two alike."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.timeseries.fields.simulation.darcy import darcy
from headway.timeseries.fields.simulation.flows import random_fields


class Media(NamedTuple):
    """Permeabilities and pressures on a grid, (M, N, N) each."""

    permeability: Tensor
    pressure: Tensor


def two_phase_media(
    number: int, size: int, *, contrast: Sequence[float], smoothness: float, seed: int
) -> Media:
    """Returns media of two materials in random patches, with the pressure of a source of 1 everywhere.

    Args:
        number: Media.
        size: Side of the grid.
        contrast: Permeabilities of the two materials.
        smoothness: The spectrum of the patches falls with this power of the wave number.
        seed: Of the draws.

    Source:
        Li et al. 2020 (FNO), https://arxiv.org/abs/2010.08895, section 5.2: materials of 3 and 12.
    """
    fields = random_fields(number, (size, size), smoothness=smoothness, seed=seed)
    low, high = contrast
    permeability = torch.where(fields > 0, high, low)
    pressure = [
        darcy(part, torch.ones_like(part), tolerance=1e-6) for part in permeability.split(64)
    ]
    return Media(permeability.float(), torch.cat(pressure).float())


class SimpleAnswers(NamedTuple):
    """The mean pressure of a training part, and ridge regression on what a medium differs from its mean.

    Regression reads the whole grid: each cell is taken as the nearest one that is known.

    Args:
        mean: Pressure, (N * N,).
        centre: Logarithm of the permeability, (N * N,).
        weight: From cells to cells, (N * N, N * N).
    """

    mean: Tensor
    centre: Tensor
    weight: Tensor

    def at(self, filled: Tensor, cells: Tensor) -> Tensor:
        """Returns both answers for a filled medium, (N * N,), at some cells, (n, 2)."""
        mean = self.mean[cells]
        return torch.stack([mean, mean + (filled - self.centre) @ self.weight[:, cells]], dim=-1)


def grid_places(size: int) -> Tensor:
    """Returns the middles of the cells of the unit square, (size * size, 2)."""
    middles = (torch.arange(size) + 0.5) / size
    return torch.stack(torch.meshgrid(middles, middles, indexing="ij"), dim=-1).flatten(0, 1)


def fill_nearest(values: Tensor, known: Tensor, places: Tensor) -> Tensor:
    """Returns the value of the nearest known place for every place.

    Shape:
        values: (n,) at ``known``, (n,) whole numbers. places: (P, 2). Output: (P,).
    """
    return values[torch.cdist(places, places[known]).argmin(dim=1)]


def fit_simple(
    media: Media, *, points: tuple[int, int], seed: int, ridge: float = 0.03
) -> SimpleAnswers:
    """Fits the simple models to a training part, known at as many points as the items are.

    Args:
        media: The training part.
        points: Least and largest number of known cells.
        seed: Of the cells.
        ridge: Penalty, as a share of the mean squared input.
    """
    random = torch.Generator().manual_seed(seed)
    places = grid_places(media.pressure.shape[1])
    logs, pressure = media.permeability.log().flatten(1), media.pressure.flatten(1)
    known = torch.rand(logs.shape, generator=random).argsort(dim=1)
    most = torch.randint(points[0], points[1] + 1, (len(logs),), generator=random)
    filled = torch.stack(
        [
            fill_nearest(row[cells[:number]], cells[:number], places)
            for row, cells, number in zip(logs, known, most.tolist(), strict=True)
        ]
    )
    mean, centre = pressure.mean(dim=0), filled.mean(dim=0)
    x, y = (filled - centre).double(), (pressure - mean).double()
    gram = x @ x.T
    gram += ridge * gram.trace() / len(gram) * torch.eye(len(gram), dtype=torch.float64)
    return SimpleAnswers(mean, centre, (x.T @ torch.linalg.solve(gram, y)).float())


class ScatteredMedia(Dataset[dict[str, Tensor]]):
    """Each item knows a medium at some cells of its grid, and asks for the pressure at others.

    Args:
        media: On a grid.
        points: Least and largest number of cells that are known, and that are asked for.
        scale: What the pressure is divided by.
        simple: The simple models.
    """

    def __init__(
        self, media: Media, *, points: tuple[int, int], scale: float, simple: SimpleAnswers
    ) -> None:
        self.media, self.points, self.scale, self.simple = media, points, scale, simple
        self.places = grid_places(media.pressure.shape[1])

    def __len__(self) -> int:
        """The number of media."""
        return len(self.media.pressure)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns points, known ``set``, pressure and what simple models say there."""
        least, most = self.points
        numbers = [int(torch.randint(least, most + 1, ())) for _ in range(2)]
        known, asked = (torch.randperm(len(self.places))[:number] for number in numbers)
        medium = self.media.permeability[index].flatten()[known].log()
        filled = fill_nearest(medium, known, self.places)
        return {
            "points": self.places[asked],
            "set": torch.cat([self.places[known], medium[:, None]], dim=1),
            "y": self.media.pressure[index].flatten()[asked, None] / self.scale,
            "baselines": self.simple.at(filled, asked) / self.scale,
        }


class ScatteredDarcy(DataModule):
    """Media known at scattered points, and the pressure at other ones; meshes are new in every epoch.

    Args:
        size: Side of the grid on which the flow is solved.
        number: Media for training.
        tests: Media for validation, and as many for the test.
        points: Least and largest number of points of a mesh.
        contrast: Permeabilities of the two materials.
        smoothness: The spectrum of the patches falls with this power of the wave number.
        batch_size: Media of a batch.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Shape:
        points: (B, N, 2). sets: one (B, M, 3), places and the logarithm of the permeability. y: (B, N, 1).
        valid, set_valid: (B, N), (B, M). baselines: (B, N, 2), as ``baselines`` names them.

    Raises:
        UserError: If a number is below 1, or a mesh may have more points than the grid has cells.
    """

    baselines = ("mean", "linear")
    """See ``SimpleAnswers``."""

    def __init__(
        self,
        *,
        size: int = 32,
        number: int = 512,
        tests: int = 64,
        points: Sequence[int] = (100, 200),
        contrast: Sequence[float] = (3.0, 12.0),
        smoothness: float = 3.0,
        batch_size: int = 16,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        for name, value in (("size", size), ("number", number), ("tests", tests)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        if len(points) != 2 or not 1 <= points[0] <= points[1] <= size**2:
            raise UserError(
                f"points is a range (least, largest) between 1 and the {size**2} cells, got {tuple(points)}"
            )
        if len(contrast) != 2 or min(contrast) <= 0:
            raise UserError(f"contrast needs two permeabilities above 0, got {tuple(contrast)}")
        self.size, self.number, self.tests = size, number, tests
        self.points = (points[0], points[1])
        self.contrast, self.smoothness = tuple(contrast), smoothness

    def setup(self, stage: str | None = None) -> None:
        """Solves, and fits the simple models to the training part."""
        if self.train_set is not None:
            return
        options = {"contrast": self.contrast, "smoothness": self.smoothness}
        parts = [
            two_phase_media(number, self.size, seed=3 * self.seed + place, **options)
            for place, number in enumerate((self.number, self.tests, self.tests))
        ]
        train = parts[0]
        scale = float(train.pressure.std())
        simple = fit_simple(train, points=self.points, seed=self.seed)
        sets = [
            ScatteredMedia(part, points=self.points, scale=scale, simple=simple) for part in parts
        ]
        self.train_set, self.val_set, self.test_set = sets
        self.predict_set = self.test_set
        self.scale = scale

    @staticmethod
    def collate(items: list[Any]) -> dict[str, Any]:
        """Pads meshes to the largest of the batch."""
        padded = {
            name: pad_sequence([item[name] for item in items], batch_first=True)
            for name in ("points", "set", "y", "baselines")
        }
        for name, source in (("valid", "points"), ("set_valid", "set")):
            lengths = torch.tensor([len(item[source]) for item in items])
            padded[name] = torch.arange(padded[source].shape[1]) < lengths[:, None]
        return {
            **{name: padded[name] for name in ("points", "y", "valid", "baselines")},
            "sets": [padded["set"]],
            "set_valid": [padded["set_valid"]],
        }

    def preprocessing(self) -> dict[str, Any]:
        """Returns what a user of the model must know."""
        return {"scale": self.scale, "contrast": list(self.contrast)}
