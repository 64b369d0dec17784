"""The base of all front ends."""

from abc import abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.module import Module
from headway.speech.layers.overlapping import Overlapping


class Features(NamedTuple):
    """What a front end returns.

    Args:
        inputs: Steps of features (B, T, bands), or samples (B, T); zeros behind the end of each.
        lengths: Steps of each, (B,).
    """

    inputs: Tensor
    lengths: Tensor


class FrontEnd(Module):
    """Turns samples into the input of an encoder; an argument of a recogniser and saved with it.

    What an item becomes depends on its own samples alone: not on what stands beside it in the batch, nor
    on what lies behind its end.

    Args:
        sample_rate: Samples per second.

    Raises:
        UserError: If ``sample_rate`` is no rate of sound.
    """

    bands: int | None = None
    """Features of a step; None where steps are samples."""
    hop: int
    """Samples from one step to the next."""

    def __init__(self, *, sample_rate: int) -> None:
        super().__init__()
        if not 1000 <= sample_rate <= 10**6:
            raise UserError(f"sample_rate is {sample_rate}; it lies between 1,000 and 1,000,000 Hz")
        self.sample_rate = sample_rate

    @property
    @abstractmethod
    def rate(self) -> float:
        """Steps per second."""

    @property
    def reach(self) -> tuple[int, int] | None:
        """Samples before and behind its first one that a step hears; None if it hears the whole recording."""
        return None

    def stream(self) -> Overlapping:
        """Returns what computes the steps while the samples come: pieces (B, S) become steps (B, T, bands).

        Raises:
            UserError: If a step hears the whole recording.
        """
        reach = self.reach
        if reach is None:
            raise UserError(
                f"{type(self).__name__} hears the whole recording before it gives a step; for speech that "
                "still comes take KaldiFbank with normalise global or none, or NeMoMel with none"
            )
        return Overlapping(
            lambda samples: self(samples).inputs,
            stride=self.hop,
            reach=reach,
            count=lambda samples: int(self.output_lengths(torch.tensor(samples))),
        )

    @abstractmethod
    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the steps that recordings of so many samples give, (B,)."""

    @abstractmethod
    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Returns what the encoder hears.

        Args:
            waveforms: Samples in -1..1.
            lengths: Samples of each; all of them if None.

        Shape:
            waveforms: (B, S). lengths: (B,). Output: (B, T, bands) or (B, T), and (B,).
        """

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be measured on recordings."""
        return True

    def measure(self, recordings: Iterable[Tensor]) -> None:
        """Measures what normalisation needs on recordings (samples,); nothing by default."""


def whole_lengths(waveforms: Tensor, lengths: Tensor | None) -> Tensor:
    """Returns the lengths given, or those of items without padding."""
    if lengths is not None:
        return lengths
    return torch.full((waveforms.shape[0],), waveforms.shape[1], device=waveforms.device)
