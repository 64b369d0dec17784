"""The lower frequencies of recordings, and up to where there are any."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.speech.layers.padding import zero_beyond

TAPS = 129
# A band is empty where its mean power is that far below the loudest one.
EMPTY = 1e-6
# No filter cuts at once: this share of the frequencies stands behind the cutoff.
EDGE = 0.04


def low_pass(waveforms: Tensor, cutoffs: Tensor, *, taps: int = TAPS) -> Tensor:
    """Returns recordings without the frequencies above a cutoff of each.

    An item is filtered alike alone and in a batch: the filter is finite.

    Args:
        waveforms: Samples, zeros behind the end.
        cutoffs: As shares of half the sample rate; 1 changes nothing.
        taps: Samples that the filter sees, an odd number.

    Shape:
        waveforms: (B, S). cutoffs: (B,). Output: (B, S).
    """
    places = torch.arange(taps, device=waveforms.device) - taps // 2
    window = torch.hann_window(taps, periodic=False).to(waveforms)
    share = cutoffs.to(waveforms)[:, None]
    filters = share * torch.sinc(share * places) * window
    # What does not change keeps its level, exactly.
    filters = filters / filters.sum(dim=1, keepdim=True)
    passed = F.conv1d(waveforms[None], filters[:, None], padding=taps // 2, groups=len(waveforms))
    return torch.where(share < 1, passed[0], waveforms)


def bandwidths(waveforms: Tensor, lengths: Tensor, *, size: int = 512) -> Tensor:
    """Returns up to where recordings have frequencies, as shares of half the sample rate, (B,).

    Args:
        waveforms: Samples.
        lengths: Samples of each.
        size: Samples of a window.

    Shape:
        waveforms: (B, S). lengths: (B,).
    """
    sound = zero_beyond(waveforms, lengths)
    window = torch.hann_window(size).to(sound)
    spectrum = torch.stft(
        sound, size, size // 2, window=window, return_complex=True, pad_mode="constant"
    )
    power = spectrum.real.square() + spectrum.imag.square()
    # Where a recording is cut off, there are all frequencies: windows within it count, if there are any.
    middles = torch.arange(power.shape[2], device=power.device) * (size // 2)
    within = (middles >= size // 2) & (middles + size // 2 <= lengths[:, None])
    within |= ~within.any(dim=1, keepdim=True)
    power = (power * within[:, None]).sum(dim=2)
    there = power > EMPTY * power.amax(dim=1, keepdim=True)
    places = torch.arange(power.shape[1], device=power.device)
    found = (there * places).amax(dim=1) / (power.shape[1] - 1)
    return torch.where(found < 1 - EDGE, found - EDGE, 1.0)
