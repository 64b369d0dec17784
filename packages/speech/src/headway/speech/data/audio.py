"""Reads one recording at the sample rate asked for, and says in one line what is wrong with it."""

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from headway.core.errors import InputError

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au")

log = logging.getLogger(__name__)


class AudioError(InputError):
    """A file that should be a recording is not, or cannot be used."""


def read_audio(
    path: Path,
    *,
    sample_rate: int,
    start: float = 0.0,
    duration: float | None = None,
    name: str | None = None,
) -> Tensor:
    """Decodes a recording as one channel at ``sample_rate``, with values in -1..1.

    Several channels are averaged; another rate is resampled (each with one note in the log).

    Args:
        path: The file, of any format that libsndfile knows.
        sample_rate: Samples per second of the result.
        start: Where to begin, in seconds.
        duration: How much to read, in seconds; to the end if None.
        name: What the message calls the file; its path if None.

    Raises:
        AudioError: If the file is missing, empty, no recording, shorter than ``start``, or holds values
            that are not finite.

    Shape:
        Output: (samples,).
    """
    name = name or str(path)
    with _open(path, name) as file:
        first = round(start * file.samplerate)
        count = -1 if duration is None else round(duration * file.samplerate)
        if first >= file.frames:
            raise AudioError(
                name, f"start {start:g} s is behind its end ({file.frames / file.samplerate:g} s)"
            )
        try:
            file.seek(first)
            samples = file.read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(name, f"broken recording ({error.error_string})") from None
        rate, channels = file.samplerate, file.channels
    if not len(samples):
        raise AudioError(name, "it has no samples")
    if not np.isfinite(samples).all():
        raise AudioError(name, "it has samples that are not finite")
    waveform = torch.from_numpy(samples.mean(axis=1))
    if channels > 1:
        _note(f"recordings of {channels} channels are averaged to one, such as {name}", channels)
    if rate != sample_rate:
        _note(f"recordings of {rate} Hz are resampled to {sample_rate} Hz, such as {name}", rate)
        waveform = _resampler(rate, sample_rate)(waveform)
    return waveform


def seconds_of(path: Path, name: str | None = None) -> float:
    """Returns the length of a recording in seconds, from its header.

    Raises:
        AudioError: As ``read_audio``.
    """
    with _open(path, name or str(path)) as file:
        return file.frames / file.samplerate


def _open(path: Path, name: str) -> soundfile.SoundFile:
    if not path.is_file():
        raise AudioError(name, "there is no such file")
    if path.stat().st_size == 0:
        raise AudioError(name, "the file is empty")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        raise AudioError(name, "not a recording that libsndfile can read") from None
    if not file.frames:
        file.close()
        raise AudioError(name, "it has no samples")
    return file


@lru_cache(maxsize=16)
def _resampler(rate: int, sample_rate: int) -> Resample:
    # The module keeps its filter: making it takes longer than using it.
    return Resample(rate, sample_rate)


_noted: set[tuple[str, int]] = set()


def _note(text: str, kind: int) -> None:
    """Logs once for each kind of recording; thousands of files have one rate."""
    key = (text.split(" such as ")[0], kind)
    if key not in _noted:
        _noted.add(key)
        log.warning(text)
