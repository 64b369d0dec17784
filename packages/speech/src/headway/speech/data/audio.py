"""Reads one recording at the sample rate asked for, and says in one line what is wrong with it."""

import logging
import math
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchaudio.transforms import Resample

from headway.core.errors import InputError
from headway.core.reading import check_file

# Of recordings in folders: what libsndfile reads and tells by the header.
EXTENSIONS = (
    *(".wav", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc"),
)

TOLERANCE = 0.1  # seconds
MAX_SECONDS = 4 * 3600  # 0.9 GB of samples at 16 kHz
MAX_FILTER = 2**24  # numbers of a filter; that from 44.1 to 16 kHz has 73,000
# Channels whose mean has a smaller share of their power cancel each other out.
CANCELLED = 1e-3

log = logging.getLogger(__name__)


class AudioError(InputError):
    """A file that should be a recording is not, or cannot be used."""


def read_audio(
    path: Path,
    *,
    sample_rate: int,
    start: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Decodes a recording as one channel at ``sample_rate``, with values in -1..1.

    Several channels are averaged, unless they cancel each other out: then the first one is taken. Another
    rate is resampled (each with one note in the log).

    Args:
        path: The file, of any format that libsndfile knows.
        sample_rate: Samples per second of the result.
        start: Where to begin, in seconds.
        duration: How much to read, in seconds; to the end if None.
        channel: Which channel is heard, from 0; all of them, as above, if None.
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
            # Some, such as GSM 6.10 of telephones, can only be read from the beginning.
            skipped = 0 if file.seekable() else first
            if first and not skipped:
                file.seek(first)
            samples = file.read(skipped + count, dtype="float32", always_2d=True)[skipped:]
        except soundfile.LibsndfileError as error:
            raise AudioError(name, f"broken recording ({error.error_string})") from None
        rate = file.samplerate
    if not len(samples):
        raise AudioError(name, "it has no samples")
    if not np.isfinite(samples).all():
        raise AudioError(name, "it has samples that are not finite")
    waveform = torch.from_numpy(_one_channel(samples, channel, name))
    if rate != sample_rate:
        _note(f"recordings of {rate} Hz are resampled to {sample_rate} Hz, such as {name}", rate)
        # The filter has a row for each phase: many, where the rates share no divisor.
        step = math.gcd(rate, sample_rate)
        if rate // step * (sample_rate // step) > MAX_FILTER:
            raise AudioError(
                name,
                f"{rate} Hz cannot be turned into {sample_rate} Hz exactly; resample it yourself",
            )
        waveform = resampler(rate, sample_rate)(waveform)
    return waveform


def _one_channel(samples: NDArray[Any], channel: int | None, name: str) -> NDArray[Any]:
    count = samples.shape[1]
    if channel is not None:
        if not 0 <= channel < count:
            raise AudioError(name, f"has no channel {channel}; it has {count}, counted from 0")
        return np.ascontiguousarray(samples[:, channel])
    if count == 1:
        return samples[:, 0]
    mean = samples.mean(axis=1)
    if np.square(mean).mean() < CANCELLED * np.square(samples).mean():
        _note(f"channels cancel each other out, the first one is heard, such as in {name}", count)
        return np.ascontiguousarray(samples[:, 0])
    _note(f"recordings of {count} channels are averaged to one, such as {name}", count)
    return mean


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
def resampler(rate: int, sample_rate: int) -> Resample:
    """Returns what turns samples (S,) of one rate into those of another, S times their ratio, rounded up."""
    # The module keeps its filter: making it takes longer than using it.
    return Resample(rate, sample_rate)


_noted: set[tuple[str, int]] = set()


def _note(text: str, kind: int) -> None:
    """Logs once for each kind of recording; thousands of files have one rate."""
    key = (text.split(" such as ")[0], kind)
    if key not in _noted:
        _noted.add(key)
        log.warning(text)
