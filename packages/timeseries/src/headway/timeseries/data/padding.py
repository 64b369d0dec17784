"""Series of several lengths as one tensor."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray


def pad_series(series: Sequence[NDArray[np.float64]]) -> dict[str, torch.Tensor]:
    """Returns scaled series as one tensor, padded on the right, with what is real of it.

    Shape:
        series: (T, features) each. Output: ``x`` (B, T, features), and where it is needed ``lengths`` (B,)
        and ``mask`` (B, T, features).
    """
    lengths = [len(values) for values in series]
    x = np.zeros((len(series), max(lengths), series[0].shape[1]))
    for row, values in enumerate(series):
        x[row, : len(values)] = values
    known = ~np.isnan(x)
    found = {"x": torch.from_numpy(np.where(known, x, 0.0)).float()}
    if min(lengths) < max(lengths):
        found["lengths"] = torch.tensor(lengths)
    if not known.all():
        found["mask"] = torch.from_numpy(known)
    return found
