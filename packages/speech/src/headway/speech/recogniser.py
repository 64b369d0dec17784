"""What a recogniser is."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from headway.core.answers import answer
from headway.core.module import Module


@answer
class Encoded(NamedTuple):
    """What the encoder of a recogniser returns: tokens (B, T', C) and how many are real, (B,)."""

    encoded: Tensor
    lengths: Tensor


class Recogniser(Module):
    """Hears what is said."""
