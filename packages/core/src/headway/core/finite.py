"""Which tensors hold something that is no finite number."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


def non_finite(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Yields the names of the tensors that hold nan or infinity."""
    for name, value in state.items():
        if value.is_floating_point() and value.element_size() == 1:
            value = value.float()  # torch cannot ask it of types of a byte
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            yield name
