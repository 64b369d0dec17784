"""Which known values of a window are hidden, for a model to find again."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training.loader import Seeded
from headway.core.training.randomness import mix
from headway.timeseries.data.whole_windows import WholeWindows
from headway.timeseries.data.windows import Batch


class Hiding(ABC):
    """Chooses places of a window."""

    @abstractmethod
    def __call__(self, shape: tuple[int, int], ratio: float, generator: torch.Generator) -> Tensor:
        """Returns True where a value is hidden, each with the probability ``ratio``.

        Args:
            shape: Steps and series of the window.
            ratio: Expected share.
            generator: Of the draws.

        Shape:
            Output: (L, N).
        """


class HidePoints(Hiding):
    """Hides single values, each by itself, as published tables of imputation do."""

    def __call__(self, shape: tuple[int, int], ratio: float, generator: torch.Generator) -> Tensor:
        """Returns the hidden places."""
        return torch.rand(shape, generator=generator) < ratio


class HideBlocks(Hiding):
    """Hides stretches of a series, as a sensor that fails for a while does.

    Each series is cut into stretches from a random step on, and each stretch is hidden by itself.

    Args:
        length: Steps of a stretch.

    Raises:
        UserError: If it is below 1.
    """

    def __init__(self, length: int = 12) -> None:
        if length < 1:
            raise UserError(f"blocks of {length} steps hide nothing; give a length of at least 1")
        self.length = length

    def __call__(self, shape: tuple[int, int], ratio: float, generator: torch.Generator) -> Tensor:
        """Returns the hidden places."""
        steps, series = shape
        first = torch.randint(self.length, (series,), generator=generator)
        block = (torch.arange(steps)[:, None] + first) // self.length
        chosen = torch.rand((int(block.max()) + 1, series), generator=generator) < ratio
        return chosen.gather(0, block)


class HiddenWindows(Dataset[Batch]):
    """Windows of which some known values are hidden; a training window draws one of the ratios.

    Args:
        windows: The windows.
        hiding: Chooses the places.
        ratios: Expected shares of hidden values.

    Shape:
        A batch is that of the windows with ``hidden`` (B, L, N), True where a known value is hidden, and
        ``ratio`` (B,).
    """

    def __init__(self, windows: WholeWindows, hiding: Hiding, ratios: Sequence[float]) -> None:
        self.windows, self.hiding, self.ratios = windows, hiding, tuple(ratios)

    def __len__(self) -> int:
        return len(self.windows)

    def find(self, index: int, generator: torch.Generator) -> tuple[int, float]:
        """Returns the window of an index, and its ratio."""
        place = torch.randint(len(self.ratios), (), generator=generator)
        return index, self.ratios[int(place)]

    def batch(self, places: Sequence[tuple[int, int]], seed: int) -> Batch:
        """Returns windows with what is hidden, a function of seed, epoch and index.

        Args:
            places: Epochs and indices.
            seed: Of the run.
        """
        shape = (self.windows.context_length, self.windows.values.shape[1])
        indices, ratios, hidden = [], [], []
        for epoch, index in places:
            generator = torch.Generator().manual_seed(mix(seed, epoch, index, "hidden"))
            window, ratio = self.find(index, generator)
            indices.append(window)
            ratios.append(ratio)
            hidden.append(self.hiding(shape, ratio, generator))
        found = self.windows.batch(indices)
        places_hidden = torch.stack(hidden)
        if "mask" in found:
            places_hidden &= found["mask"]
        return {**found, "hidden": places_hidden, "ratio": torch.tensor(ratios)}


class EveryRatio(HiddenWindows):
    """Every window once with each ratio, for validation and test."""

    def __len__(self) -> int:
        return len(self.windows) * len(self.ratios)

    def find(self, index: int, generator: torch.Generator) -> tuple[int, float]:
        """Returns the window of an index, and its ratio."""
        window, place = divmod(index, len(self.ratios))
        return window, self.ratios[place]


class HiddenBatches(Seeded):
    """Whole batches of hidden windows; what is hidden depends on seed, epoch and index alone."""

    data: Any  # HiddenWindows

    def __getitems__(self, places: list[int | tuple[int, int]]) -> Batch:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Returns the collated batch of some places, which are indices or (epoch, index)."""
        pairs = [place if isinstance(place, tuple) else (0, place) for place in places]
        return self.data.batch(pairs, self.seed)

    def __getitem__(self, place: int | tuple[int, int]) -> Batch:
        return {name: value[0] for name, value in self.__getitems__([place]).items()}
