"""Sound from mel features, without anything learned."""

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.speech.front_ends.log_mel import LogMel


def linear_amplitudes(mels: Tensor, banks: Tensor, *, steps: int = 60) -> Tensor:
    """Returns amplitudes, none negative, whose mel bands are the given ones as nearly as it may be.

    The least squares are found by multiplicative steps, which no band without a frequency can upset, as a
    pseudo-inverse can.

    Args:
        mels: Amplitudes of mel bands.
        banks: Weights of frequencies in bands.
        steps: Steps of the search.

    Shape:
        mels: (..., bands). banks: (frequencies, bands). Output: (..., frequencies).

    Source:
        Lee and Seung 2000, "Algorithms for non-negative matrix factorization", eq. 4.
    """
    wanted = mels @ banks.T
    found = wanted / banks.sum(dim=0).square().mean().clamp_min(1e-12)
    both = banks @ banks.T
    for _ in range(steps):
        found = found * wanted / (found @ both).clamp_min(1e-12)
    return found


def griffin_lim(
    features: Tensor,
    front_end: LogMel,
    *,
    steps: int = 60,
    momentum: float = 0.99,
    seed: int = 0,
) -> Tensor:
    """Returns sound whose mel features are the given ones as nearly as it may be.

    Args:
        features: Of one recording, as the front end makes them.
        front_end: What they are.
        steps: Steps of the search for the phases.
        momentum: How far each step goes on in the direction of the one before.
        seed: Of the phases that the search begins with.

    Shape:
        features: (T, bands). Output: (T * hop,).

    Source:
        Griffin and Lim 1984; momentum: Perraudin et al. 2013, "A fast Griffin-Lim algorithm".
    """
    size, hop = front_end.size, front_end.hop
    banks, window = front_end.banks.to(features), front_end.window.to(features)
    wanted = features.shape[0] * hop
    if (short := size // 2 // hop + 1 - len(features)) > 0:
        # The search looks half a window beyond both ends.
        features = torch.cat((features, features[-1:].expand(short, -1)))
    amplitudes = linear_amplitudes(front_end.amplitudes(features), banks).T
    samples = features.shape[0] * hop
    # One more frame than steps: frames of torch.stft are centred on the multiples of the hop.
    amplitudes = torch.cat((amplitudes, amplitudes[:, -1:]), dim=1)
    generator = torch.Generator().manual_seed(seed)
    angles = 2 * torch.pi * torch.rand(amplitudes.shape, generator=generator).to(features)
    phases = torch.polar(torch.ones_like(angles), angles)
    before = torch.zeros_like(phases)

    def sound(spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, size, hop, window=window, length=samples)

    for _ in range(steps):
        again = torch.stft(
            sound(amplitudes * phases), size, hop, window=window, return_complex=True
        )
        ahead = again + momentum * (again - before)
        before = again
        phases = ahead / ahead.abs().clamp_min(1e-9)
    # A step is centred half a hop later than a frame of torch.stft.
    return F.pad(sound(amplitudes * phases), (hop // 2, 0))[:wanted]
