"""Recordings with the class of each, one and many."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.batch import padded


class AudioItem(NamedTuple):
    """One recording with its class.

    Args:
        waveform: Samples, (S,).
        label: Number of its class.
        name: The recording, for people.
    """

    waveform: Tensor
    label: int
    name: str = ""


class AudioBatch(NamedTuple):
    """Recordings padded on the right with zeros.

    Args:
        inputs: Samples (B, S), or what a front end made of them, (B, T, F).
        lengths: Steps of each, (B,).
        labels: Number of the class of each, (B,).
        names: The recordings, for people.
    """

    inputs: Tensor
    lengths: Tensor
    labels: Tensor
    names: tuple[str, ...] = ()


def gather(items: Sequence[AudioItem | None]) -> AudioBatch:
    """Makes a batch of the items that could be read.

    Raises:
        UserError: If none could.
    """
    whole = [item for item in items if item is not None]
    if not whole:
        raise UserError("no recording of this batch can be read; check the files named above")
    return AudioBatch(
        *padded([item.waveform for item in whole]),
        torch.tensor([item.label for item in whole]),
        tuple(item.name for item in whole),
    )
