"""The data of a classification task: labelled series, split and padded."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from headway.core.errors import InputError, UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.randomness import mix
from headway.timeseries.data.padding import pad_series
from headway.timeseries.data.scaler import Scaler
from headway.timeseries.data.ts_file import LabelledSeries, read_ts
from headway.timeseries.data.windows import Batch

Item = tuple[NDArray[np.float64], int]


class Cases(Dataset[Item]):
    """Scaled series with the places of their classes.

    Args:
        series: The series, NaN where a value is missing.
        labels: Place of the class of each.
    """

    def __init__(self, series: Sequence[NDArray[np.float64]], labels: Sequence[int]) -> None:
        self.series, self.labels = series, labels

    def __len__(self) -> int:
        return len(self.series)

    def __getitem__(self, index: int) -> Item:
        return self.series[index], int(self.labels[index])


class ClassificationData(DataModule):
    """Series with one class each, from ``.ts`` files of the UCR and UEA archives.

    Each channel is scaled by mean and deviation of the training part. A batch is padded to its longest
    series. The validation part is a share of each class, drawn by seed.

    Args:
        path: The file to train on.
        test: The file to test on; its classes are those of the training file.
        val: Share of the training file that validates; with 0 the last weights are kept.
        on_invalid: What to do with a case that is not as its file says: ``raise`` or ``skip``.
        batch_size: Series of a batch.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.

    Shape:
        A batch has ``x`` (B, T, features) and ``label`` (B,); where series are shorter than the longest one
        ``lengths`` (B,), where values are missing ``mask`` (B, T, features).

    Raises:
        InputError: If a file cannot be used.
        UserError: If the share leaves a class without a series to train on.
    """

    def __init__(
        self,
        *,
        path: str,
        test: str | None = None,
        val: float = 0.2,
        on_invalid: OnInvalid = "raise",
        batch_size: int = 16,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if not 0 <= val < 1:
            raise UserError(f"val {val:g} is no share of the training file; use 0.2, or 0 for none")
        self.path, self.test, self.val = path, test, val
        self.on_invalid: OnInvalid = on_invalid
        self.scaler: Scaler | None = None

    def setup(self, stage: str | None = None) -> None:
        """Reads, splits and scales the files, once."""
        if self.scaler is not None:
            return
        found = self._read(self.path)
        if len(found.classes) < 2:
            raise InputError(found.name, "names fewer than two classes behind @classLabel")
        self.classes, self.features = found.classes, found.features
        train, val = split_classes(found.labels, self.val, self.seed)
        names = [f"channel {k + 1}" for k in range(found.features)]
        self.scaler = Scaler.fit(np.concatenate([found.series[k] for k in train]), names)
        self.train_set = self._cases(found, train)
        self.val_set = self._cases(found, val) if len(val) else None
        if self.test is not None:
            tests = self._read(self.test)
            if not set(tests.classes) <= set(found.classes) or tests.features != found.features:
                raise InputError(
                    tests.name,
                    f"has {tests.features} channels and the classes {', '.join(tests.classes[:10])}; "
                    f"{found.name} has {found.features} and {', '.join(found.classes[:10])}",
                )
            # Classes are numbered as in the training file, whatever order this one names them in.
            numbers = np.array([found.classes.index(name) for name in tests.classes])
            tests = replace(tests, classes=found.classes, labels=numbers[tests.labels])
            self.test_set = self.predict_set = self._cases(tests, np.arange(len(tests.series)))

    @property
    def num_classes(self) -> int:
        """Classes of the training file."""
        self.setup()
        return len(self.classes)

    def preprocessing(self) -> dict[str, Any]:
        """Returns the classes and the scaler."""
        self.setup()
        assert self.scaler is not None
        return {"classes": list(self.classes), **self.scaler.as_dict()}

    @staticmethod
    def collate(batch: list[Item]) -> Batch:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Pads series to the longest one."""
        found = pad_series([series for series, _ in batch])
        return {**found, "label": torch.tensor([label for _, label in batch])}

    def _read(self, path: str) -> LabelledSeries:
        invalid = InvalidItems(self.on_invalid, "cases")
        found = read_ts(path, invalid)
        invalid.log(len(found.series) + len(invalid.errors))
        return found

    def _cases(self, found: LabelledSeries, places: NDArray[np.int64]) -> Cases:
        assert self.scaler is not None
        series = [self.scaler.forward(found.series[k]) for k in places]
        return Cases(series, [int(found.labels[k]) for k in places])


def split_classes(
    labels: NDArray[np.int64], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the places of training and validation, a share of each class, rounded.

    Raises:
        UserError: If a class has none left to train on.
    """
    random = np.random.default_rng(mix(seed, "split"))
    train, val = [], []
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        count = round(share * len(places))
        if count == len(places):
            raise UserError(
                f"val {share:g} leaves none of the {len(places)} series of a class to train on; lower it"
            )
        val.append(places[:count])
        train.append(places[count:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(val))
