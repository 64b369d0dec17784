"""Windows of a file that a generative model is trained on and judged by."""

from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import TensorDataset

from headway.core.errors import InputError, UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.timeseries.data.forecasting import chosen_places
from headway.timeseries.data.table import read_table


class GenerationData(DataModule):
    """Windows of the series of a file, each series scaled to -1 to 1 by its training part.

    The file is cut into blocks, and each block belongs to one part, drawn by the seed: a generator must make
    what is like the whole file, so its test windows come from all of it, but no test window shares a step
    with a training window. Windows with a missing value are left out. A batch holds ``x``
    (B, length, features).

    Args:
        path: The file, wide or long; see ``ForecastingData``.
        length: Steps of a window.
        columns: Which series to read; all if None.
        freq: Step of time, such as ``h``, ``B`` or ``MS``; rows that are not there are then missing values.
            Read from the stamps if None.
        block: Steps of a block; ten windows if None.
        shares: Of the blocks, for training, validation and test.
        tests: Windows of the test, spread over its blocks; all if None.
        batch_size: Windows of a batch.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Raises:
        InputError: If the file cannot be used, or gives a part no whole window.
        UserError: If a number is too small.
    """

    def __init__(
        self,
        *,
        path: str,
        length: int = 24,
        columns: list[str] | None = None,
        freq: str | None = None,
        block: int | None = None,
        shares: tuple[float, float, float] = (0.8, 0.1, 0.1),
        tests: int | None = None,
        batch_size: int = 128,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        block = 10 * length if block is None else block
        if not 1 <= length <= block:
            raise UserError(f"length {length} must be at least 1 and at most block {block}")
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise UserError(
                f"shares are three parts of 1, such as [0.8, 0.1, 0.1]; got {list(shares)}"
            )
        if tests is not None and tests < 1:
            raise UserError(f"tests must be at least 1 window, got {tests}")
        self.path, self.columns, self.length, self.block = path, columns, length, block
        self.freq = freq
        self.shares, self.tests = shares, tests
        self.notes: dict[str, Any] = {}

    def setup(self, stage: str | None = None) -> None:
        """Reads, scales and cuts the file, once."""
        if self.notes:
            return
        table = read_table(self.path, freq=self.freq)
        chosen = chosen_places(table, self.columns)
        values = table.values[:, chosen]
        parts = self._parts(len(values))
        known = values[np.concatenate(parts[0])] if parts[0] else values[:0]
        if not known.size or np.isnan(known).all(axis=0).any():
            raise InputError(
                self.path,
                f"has {len(values)} rows; no block of {self.block} steps with values of every series is "
                "left for training: give a longer file, a smaller block or fewer columns",
            )
        low, high = np.nanmin(known, axis=0), np.nanmax(known, axis=0)
        scaled = 2 * (values - low) / np.where(high > low, high - low, 1.0) - 1
        windows = [self._windows(scaled, blocks) for blocks in parts]
        for name, found in zip(("training", "validation", "test"), windows, strict=True):
            if not len(found):
                raise InputError(
                    self.path,
                    f"gives the {name} part no whole window of {self.length} steps; give a longer file, "
                    "a smaller block or other shares",
                )
        train, val, test = (torch.from_numpy(found).float() for found in windows)
        if self.tests is not None and self.tests < len(test):
            test = test[torch.linspace(0, len(test) - 1, self.tests).long()]
        self.train_set, self.val_set, self.test_set = map(TensorDataset, (train, val, test))
        self.predict_set = self.test_set
        self.notes = {
            "names": [table.names[k] for k in chosen],
            "low": low.tolist(),
            "high": high.tolist(),
            "length": self.length,
        }

    def preprocessing(self) -> dict[str, Any]:
        """Returns the series, and what -1 and 1 mean in their units."""
        self.setup()
        return self.notes

    @staticmethod
    def collate(items: list[Any]) -> dict[str, Tensor]:
        """Stacks windows."""
        return {"x": torch.stack([item[0] for item in items])}

    def _parts(self, rows: int) -> list[list[NDArray[np.int64]]]:
        """Returns the rows of the blocks of each part."""
        blocks = [
            np.arange(start, min(start + self.block, rows)) for start in range(0, rows, self.block)
        ]
        order = np.random.default_rng(self.seed).permutation(len(blocks))
        # A short file has at least one block for each part that is asked for.
        _, val, test = (max(round(share * len(blocks)), int(share > 0)) for share in self.shares)
        ends = [len(blocks) - test - val, len(blocks) - test]
        return [[blocks[k] for k in sorted(part)] for part in np.split(order, ends)]

    def _windows(
        self, scaled: NDArray[np.float64], blocks: list[NDArray[np.int64]]
    ) -> NDArray[np.float64]:
        """Returns the whole windows of some blocks, (M, length, features)."""
        found = [
            sliding_window_view(scaled[block], self.length, axis=0).transpose(0, 2, 1)
            for block in blocks
            if len(block) >= self.length
        ]
        windows = np.concatenate(found) if found else np.zeros((0, self.length, scaled.shape[1]))
        return windows[~np.isnan(windows).any(axis=(1, 2))]
