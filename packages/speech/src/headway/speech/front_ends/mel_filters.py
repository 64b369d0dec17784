"""Triangular filters on the mel scale of Slaney's Auditory Toolbox."""

import math

import torch
from torch import Tensor

from headway.core.errors import UserError

# Linear up to 1 kHz, 200/3 Hz to a mel; logarithmic above, 27 mels to a factor of 6.4.
_LINEAR, _KNEE, _STEP = 200.0 / 3.0, 1000.0, math.log(6.4) / 27.0


def slaney_filters(
    mels: int, *, bins: int, sample_rate: int, highest: float, lowest: float = 0.0
) -> Tensor:
    """Returns filters of equal area, (bins, mels), float64.

    Args:
        mels: Filters.
        bins: Frequencies of a spectrum, from 0 to half the sample rate.
        sample_rate: Samples per second.
        highest: Where the last filter ends, in Hz.
        lowest: Where the first filter begins, in Hz.

    Raises:
        UserError: If there are no filters, or they reach beyond half the sample rate.

    Source:
        Slaney 1998, Auditory Toolbox (Interval technical report 1998-010), as librosa reads it.
    """
    if mels < 1 or bins < 2:
        raise UserError(f"{mels} filters over {bins} frequencies; at least 1 and 2 are needed")
    if not 0 <= lowest < highest <= sample_rate / 2:
        raise UserError(
            f"filters from {lowest:g} to {highest:g} Hz; half of {sample_rate} Hz is the most"
        )
    first, last = _to_mel(lowest), _to_mel(highest)
    edges = _to_hertz(torch.linspace(first, last, mels + 2, dtype=torch.float64))
    frequencies = torch.linspace(0, sample_rate / 2, bins, dtype=torch.float64)[:, None]
    widths = edges.diff()
    rising = (frequencies - edges[:-2]) / widths[:-1]
    falling = (edges[2:] - frequencies) / widths[1:]
    return torch.minimum(rising, falling).clamp_min(0) * 2 / (edges[2:] - edges[:-2])


def _to_mel(hertz: float) -> float:
    if hertz < _KNEE:
        return hertz / _LINEAR
    return _KNEE / _LINEAR + math.log(hertz / _KNEE) / _STEP


def _to_hertz(mels: Tensor) -> Tensor:
    knee = _KNEE / _LINEAR
    return torch.where(mels < knee, mels * _LINEAR, _KNEE * ((mels - knee) * _STEP).exp())
