"""The base of what stands before a speech encoder."""

from abc import abstractmethod

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module


class SpeechStem(Module):
    """Turns features or waveforms into the tokens of an encoder.

    The length of an item's output is a function of its own length alone, and what lies beyond it in the
    batch, even NaN, changes neither results nor gradients.
    """

    bands: int | None = None
    """Features of a step that it takes; None for samples."""
    stride: int
    """Steps of the input for a token."""

    @property
    def reach(self) -> tuple[int, int] | None:
        """Steps of the input before and behind its first one that a token hears; None if it hears all."""
        return None

    @abstractmethod
    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens items of these lengths give, (B,)."""

    @abstractmethod
    def forward(self, inputs: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the tokens (B, N, dim) and their lengths (B,)."""

    def checked_lengths(self, lengths: Tensor) -> Tensor:
        """Returns ``output_lengths``.

        Raises:
            UserError: If an item is too short to give a token.
        """
        found = self.output_lengths(lengths)
        if not torch.compiler.is_compiling() and bool((found < 1).any()):
            raise UserError(
                f"an item of length {int(lengths[found.argmin()])} is too short for "
                f"{type(self).__name__} to give a single token; leave it out"
            )
        return found
