"""Where somebody speaks in a recording, by Silero's detector."""

import warnings
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.data.audio import resampler

# The rate at which the detector hears; and what is heard around speech, in milliseconds.
RATE, AROUND = 16000, 200


def speech_spans(waveform: Tensor, sample_rate: int) -> list[tuple[int, int]]:
    """Returns where somebody speaks, from sample to sample; none where nobody does.

    Args:
        waveform: Samples, (S,).
        sample_rate: Samples per second.

    Raises:
        UserError: If the package of the detector is missing.

    Source:
        Silero VAD, https://github.com/snakers4/silero-vad (MIT); its weights are part of the package.
    """
    find, model = _detector()
    heard = waveform if sample_rate == RATE else resampler(sample_rate, RATE)(waveform)
    found = find(heard, model, sampling_rate=RATE, speech_pad_ms=AROUND)
    ratio = sample_rate / RATE
    return [
        (int(one["start"] * ratio), min(len(waveform), round(one["end"] * ratio))) for one in found
    ]


@lru_cache(maxsize=1)
def _detector() -> tuple[Any, Any]:
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            # The file is TorchScript, which torch still reads and wishes it did not.
            warnings.simplefilter("ignore")
            from silero_vad import (  # pyright: ignore[reportMissingImports]
                get_speech_timestamps,
                load_silero_vad,
            )

            return get_speech_timestamps, load_silero_vad()
    except ImportError:
        raise UserError('finding speech needs silero-vad: pip install "headway[vad]"') from None
    finally:
        # The package sets it to 1 for the whole process.
        torch.set_num_threads(threads)
