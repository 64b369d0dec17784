"""How high a voice is."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Hz that a voice is looked for in, and how alike neighbouring periods are in voiced speech.
LOWEST, HIGHEST, VOICED = 60.0, 400.0, 0.5
NEARLY = 0.85  # of the largest correlation
REFERENCE = 200.0


def pitch(waveforms: Tensor, *, sample_rate: int, hop: int) -> tuple[Tensor, Tensor]:
    """Returns the pitch of each step, in octaves above 200 Hz, and where the voice sounds.

    The pitch is the shortest lag at which the autocorrelation of a window, normalised by its energy, has a
    peak that is nearly the largest.

    Args:
        waveforms: Samples.
        sample_rate: Samples per second.
        hop: Samples of a step.

    Shape:
        waveforms: (B, S). Output: (B, S // hop) twice; pitch is 0 where no voice sounds.
    """
    shortest, longest = int(sample_rate / HIGHEST), int(sample_rate / LOWEST)
    width = 3 * longest
    width += (width - hop) % 2
    edge = (width - hop) // 2
    frames = F.pad(waveforms, (edge, edge)).unfold(1, width, hop)
    frames = frames - frames.mean(dim=2, keepdim=True)
    size = 1 << (2 * width - 1).bit_length()
    power = torch.fft.rfft(frames, n=size).abs().square()
    correlation = torch.fft.irfft(power, n=size)[..., : longest + 2]
    energy = frames.square()
    ahead = energy.flip(2).cumsum(2).flip(2)[..., : longest + 2]
    behind = energy.cumsum(2).flip(2)[..., : longest + 2]
    alike = correlation / (ahead * behind).sqrt().clamp_min(1e-9)
    # Two periods are as alike as one: the shortest lag of those that are nearly the best is the period.
    value = alike[..., shortest:].amax(dim=2)
    inner = alike[..., shortest - 1 :]
    peak = (inner[..., 1:-1] >= inner[..., :-2]) & (inner[..., 1:-1] >= inner[..., 2:])
    near = inner[..., 1:-1] >= NEARLY * value[..., None]
    place = (peak & near).int().argmax(dim=2)
    loud = energy.sum(dim=2) > 1e-4 * energy.sum(dim=2).amax(dim=1, keepdim=True).clamp_min(1e-9)
    voiced = (value > VOICED) & loud
    octaves = (sample_rate / (place + shortest) / REFERENCE).log2()
    return octaves.where(voiced, 0.0), voiced
