"""Recordings with their texts, one and many."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from headway.core.errors import UserError


class SpeechItem(NamedTuple):
    """One recording with its text.

    Args:
        waveform: Samples, (S,).
        targets: Tokens of the text, (U,).
        name: The recording, for people.
        speaker: Who speaks; empty where nobody says.
        language: What is spoken, such as ``en``; empty where nobody says.
        answer: Samples of what is said in turn, (S',); None where nothing is.
    """

    waveform: Tensor
    targets: Tensor
    name: str = ""
    speaker: str = ""
    language: str = ""
    answer: Tensor | None = None


class SpeechBatch(NamedTuple):
    """Recordings padded on the right with zeros.

    Args:
        inputs: Samples (B, S), or what a front end made of them, (B, T, F) or (B, T).
        lengths: Steps of each, (B,).
        targets: Tokens of the texts, (B, U).
        target_lengths: (B,).
        names: The recordings, for people.
        speakers: Who speaks; empty where nobody says.
        languages: What is spoken; empty where nobody says.
        answers: Samples of what is said in turn (B, S'); None where an item has none.
        answer_lengths: (B,).
    """

    inputs: Tensor
    lengths: Tensor
    targets: Tensor
    target_lengths: Tensor
    names: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    answers: Tensor | None = None
    answer_lengths: Tensor | None = None


def pad(items: Sequence[SpeechItem | None]) -> SpeechBatch:
    """Makes a batch of the items that could be read.

    Raises:
        UserError: If none could.
    """
    whole = [item for item in items if item is not None]
    if not whole:
        raise UserError("no recording of this batch can be read; check the files named above")
    return SpeechBatch(
        *padded([item.waveform for item in whole]),
        *padded([item.targets for item in whole]),
        tuple(item.name for item in whole),
        tuple(item.speaker for item in whole),
        tuple(item.language for item in whole),
        *_answers(whole),
    )


def _answers(items: Sequence[SpeechItem]) -> tuple[Tensor | None, Tensor | None]:
    answers = [item.answer for item in items if item.answer is not None]
    return padded(answers) if len(answers) == len(items) else (None, None)


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Returns rows padded on the right with zeros, and their lengths."""
    return pad_sequence(list(rows), batch_first=True), torch.tensor([len(row) for row in rows])
