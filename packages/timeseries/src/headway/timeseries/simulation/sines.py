"""Windows of sines, the first benchmark of generated series."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed


def sines(number: int, length: int, features: int, *, seed: int = 0) -> Tensor:
    """Returns windows of sines, -1 to 1, each with an angular frequency and a phase from 0 to 0.1.

    Args:
        number: Windows.
        length: Steps of a window.
        features: Series of a window, independent of each other.
        seed: Of the draws.

    Shape:
        Output: (number, length, features).

    Source:
        Yoon et al. 2019 (TimeGAN),
        https://papers.nips.cc/paper/8789-time-series-generative-adversarial-networks, and its code.
    """
    random = torch.Generator().manual_seed(seed)
    draws = 0.1 * torch.rand(2, number, 1, features, generator=random)
    frequency, phase = draws.unbind(0)
    return torch.sin(frequency * torch.arange(length)[:, None] + phase)


class Sines(DataModule):
    """Windows of sines; a batch holds ``x`` (B, length, features).

    Args:
        number: Windows for training.
        length: Steps of a window.
        features: Series.
        tests: Windows for validation, and as many for the test.
        batch_size: Windows of a batch.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Raises:
        UserError: If a number is below 1.
    """

    def __init__(
        self,
        *,
        number: int = 10_000,
        length: int = 24,
        features: int = 5,
        tests: int = 1000,
        batch_size: int = 128,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        sizes = {"number": number, "length": length, "features": features, "tests": tests}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.number, self.length, self.features, self.tests = number, length, features, tests

    def setup(self, stage: str | None = None) -> None:
        """Makes the windows."""
        windows = sines(self.number + 2 * self.tests, self.length, self.features, seed=self.seed)
        parts = windows.split([self.number, self.tests, self.tests])
        self.train_set, self.val_set, self.test_set = map(TensorDataset, parts)
        self.predict_set = self.test_set

    @staticmethod
    def collate(items: list[Any]) -> dict[str, Tensor]:
        """Stacks windows."""
        return {"x": torch.stack([item[0] for item in items])}
