"""Series scaled by the statistics of their training part."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaler:
    """Mean and standard deviation of each series.

    Args:
        names: Of the series.
        mean: In the units of the series.
        std: In the units of the series, never 0.

    Shape:
        mean, std: (N,).
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[Any], names: Sequence[str]) -> Self:
        """Measures the training part; a series that never changes is only centred.

        Shape:
            values: (T, N), NaN where missing.
        """
        return cls._of(*_statistics(values.astype(np.float64, copy=False)), names)

    @classmethod
    def of_parts(cls, parts: Iterable[NDArray[Any]], names: Sequence[str]) -> Self:
        """Measures series of different lengths.

        Shape:
            parts: (T,) each, NaN where missing.
        """
        found = [_statistics(part.astype(float)[:, None]) for part in parts]
        mean, std = (np.concatenate(each) for each in zip(*found, strict=True))
        return cls._of(mean, std, names)

    @classmethod
    def _of(cls, mean: NDArray[np.float64], std: NDArray[np.float64], names: Sequence[str]) -> Self:
        # What summing leaves of a constant is no deviation; how small the values are does not matter.
        constant = std <= 1e-12 * np.abs(mean)
        if constant.any():
            named = ", ".join(np.array(names)[constant][:5])
            log.warning(
                f"{int(constant.sum())} series never change in the training part ({named}); "
                "they are centred, not scaled"
            )
        return cls(names=tuple(names), mean=mean, std=np.where(constant, 1.0, std))

    def forward(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns scaled values, (..., N)."""
        return (values - self.mean) / self.std

    def inverse(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns values in the units of the series, (..., N)."""
        return values * self.std + self.mean

    def as_dict(self) -> dict[str, Any]:
        """Returns what ``preprocessing.json`` keeps."""
        return {"names": list(self.names), "mean": self.mean.tolist(), "std": self.std.tolist()}

    def known(self, notes: Mapping[str, Any]) -> Self:
        """Returns this scaler with the statistics of a trained model for the series that it knows.

        Args:
            notes: Contents of ``preprocessing.json``; a model without a scaler takes series as they are.
        """
        if "mean" not in notes:
            size = len(self.names)
            return type(self)(names=self.names, mean=np.zeros(size), std=np.ones(size))
        known = {name: place for place, name in enumerate(notes["names"])}
        mean, std = self.mean.copy(), self.std.copy()
        for place, name in enumerate(self.names):
            if name in known:
                mean[place] = notes["mean"][known[name]]
                std[place] = notes["std"][known[name]]
        return type(self)(names=self.names, mean=mean, std=std)

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> Self:
        """Returns what ``as_dict`` wrote."""
        mean, std = np.array(kept["mean"], dtype=float), np.array(kept["std"], dtype=float)
        return cls(names=tuple(kept["names"]), mean=mean, std=std)


def _statistics(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns mean and deviation over time; (N,) each."""
    known = ~np.isnan(values)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, values, 0.0).sum(axis=0) / count
    centred = np.where(known, values - mean, 0.0)
    # Squares of very small or large values leave the range of numbers.
    size = np.abs(centred).max(axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)
    return mean, size * np.sqrt(((centred / size) ** 2).sum(axis=0) / count)


def scale_covariates(scaler: Scaler, values: NDArray[Any]) -> NDArray[np.float32]:
    """Returns scaled covariates; a missing one is its mean.

    Shape:
        values: (..., K). Output: (..., K).
    """
    return np.nan_to_num(scaler.forward(values.astype(float))).astype(np.float32)
