"""Order flow as data: the last orders with the book at each, and those that follow."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.timeseries.simulation.market import OrderFlow, zero_intelligence


class OrderWindows(Dataset[dict[str, Tensor]]):
    """Windows of a stretch of order flow.

    Args:
        flow: Scaled orders and books.
        past: Orders that are known.
        future: Orders that follow.
        stride: Orders from one window to the next.
    """

    def __init__(self, flow: OrderFlow, *, past: int, future: int, stride: int = 1) -> None:
        self.orders, self.books = (torch.from_numpy(part).float() for part in flow)
        self.past, self.future = past, future
        self.starts = range(0, len(self.orders) - past - future + 1, stride)

    def __len__(self) -> int:
        """The number of windows."""
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Returns a window."""
        first = self.starts[index]
        now = first + self.past
        return {
            "orders": self.orders[first:now],
            "books": self.books[first + 1 : now + 1],  # as each order left it
            "x": self.orders[now : now + self.future],
        }


class MarketData(DataModule):
    """Simulated order flow, scaled by its training part; the three parts follow each other in time.

    Args:
        number: Orders for training.
        tests: Windows for validation, and as many for the test; no two share a future order.
        past: Orders that are known.
        future: Orders that follow.
        levels: Of the book.
        memory: See ``zero_intelligence``.
        batch_size: Windows of a batch.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Shape:
        x: (B, future, 5). orders: (B, past, 5). books: (B, past, 4 * levels).

    Raises:
        UserError: If a number is too small for a window.
    """

    def __init__(
        self,
        *,
        number: int = 20_000,
        tests: int = 256,
        past: int = 16,
        future: int = 1,
        levels: int = 5,
        memory: float = 0.7,
        batch_size: int = 64,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        for name, value in (("tests", tests), ("past", past), ("future", future)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        if number <= past + future:
            raise UserError(
                f"number {number} must exceed past {past} + future {future}, the length of a window"
            )
        self.number, self.tests, self.past, self.future = number, tests, past, future
        self.levels, self.memory = levels, memory

    def setup(self, stage: str | None = None) -> None:
        """Simulates, scales and splits."""
        if self.train_set is not None:
            return
        length = self.past + self.future * self.tests
        flow = zero_intelligence(
            self.number + 2 * length, levels=self.levels, memory=self.memory, seed=self.seed
        )
        self.scales = [(part[: self.number].mean(0), part[: self.number].std(0)) for part in flow]
        scaled = [
            (part - mean) / np.maximum(std, 1e-6)
            for part, (mean, std) in zip(flow, self.scales, strict=True)
        ]
        ends = [0, self.number, self.number + length, self.number + 2 * length]
        sizes: dict[str, int] = {"past": self.past, "future": self.future}
        sets = [
            OrderWindows(
                OrderFlow(*(part[first:last] for part in scaled)),
                **sizes,
                stride=1 if not first else self.future,
            )
            for first, last in pairwise(ends)
        ]
        self.train_set, self.val_set, self.test_set = sets
        self.predict_set = self.test_set

    def preprocessing(self) -> dict[str, Any]:
        """Returns mean and deviation of each number."""
        orders, books = self.scales
        return {
            "orders": {"mean": orders[0].tolist(), "std": orders[1].tolist()},
            "books": {"mean": books[0].tolist(), "std": books[1].tolist()},
        }
