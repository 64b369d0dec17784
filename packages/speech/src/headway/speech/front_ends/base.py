"""What stands between samples and a model."""

from typing import NamedTuple

from torch import Tensor

from headway.core.answers import answer
from headway.core.module import Module


@answer
class Features(NamedTuple):
    """What a model is given: inputs (B, T, F) and their lengths (B,)."""

    inputs: Tensor
    lengths: Tensor


class FrontEnd(Module):
    """Turns samples into what a model is given."""

    sample_rate: int
    rate: float
