"""Reads one recording at the sample rate asked for, and says in one line what is wrong with it."""

import logging
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from torchaudio.transforms import Resample

from headway.core.errors import InputError
from headway.core.reading import check_file

EXTENSIONS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au")

TOLERANCE = 0.1  # seconds
MAX_SECONDS = 4 * 3600  # 0.9 GB of samples at 16 kHz
MAX_FILTER = 2**24  # numbers of a filter; that from 44.1 to 16 kHz has 73,000

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
        AudioError: If the file is missing, empty, no recording, shorter than ``start``, holds values that
            are not finite, or has a rate that cannot be resampled.

    Shape:
        Output: (samples,).
    """
    name = name or str(path)
    with _open(path, name) as file:
        check_span(name, file.frames / file.samplerate, start, duration)
        first = round(start * file.samplerate)
        left = file.frames - first
        count = left if duration is None else min(left, round(duration * file.samplerate))
        if count > MAX_SECONDS * file.samplerate:
            raise AudioError(
                name,
                f"{count / file.samplerate:,.0f} s are to be read at once; at most {MAX_SECONDS:,} s are, "
                "give start and duration, or cut it",
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
        # The filter has a row for each phase: many, where the rates share no divisor.
        step = math.gcd(rate, sample_rate)
        if rate // step * (sample_rate // step) > MAX_FILTER:
            raise AudioError(
                name,
                f"{rate} Hz cannot be turned into {sample_rate} Hz exactly; resample it yourself",
            )
        waveform = _resampler(rate, sample_rate)(waveform)
    return waveform


def check_span(name: str, seconds: float, start: float, duration: float | None) -> None:
    """Raises if a stretch is not inside its recording.

    Args:
        name: What the message calls the recording.
        seconds: Length of the recording.
        start: Where the stretch begins, in seconds.
        duration: Its length in seconds; to the end if None. Manifests round it: ``TOLERANCE`` more is fine.

    Raises:
        AudioError: It names the stretch and the length of the recording.
    """
    if start >= seconds:
        raise AudioError(name, f"start {start:g} s is behind its end ({seconds:g} s)")
    if duration is not None and start + duration > seconds + TOLERANCE:
        raise AudioError(
            name, f"{start:g} s and {duration:g} s more end behind its end ({seconds:g} s)"
        )


def seconds_of(path: Path, name: str | None = None) -> float:
    """Returns the length of a recording in seconds, from its header.

    Raises:
        AudioError: As ``read_audio``.
    """
    with _open(path, name or str(path)) as file:
        return file.frames / file.samplerate


def _open(path: Path, name: str) -> soundfile.SoundFile:
    try:
        check_file(path)
    except InputError as error:
        raise AudioError(name, error.reason) from None
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
