"""Long recordings in parts, cut where it is quiet."""

from torch import Tensor

# A cut lies in the middle of the quietest stretch of this length, in seconds; and it is looked for in the
# last part of what may be heard at once.
QUIET, SEARCHED = 0.2, 0.5


def quiet_cuts(waveform: Tensor, sample_rate: int, most: float) -> list[tuple[int, int]]:
    """Returns where the parts of a recording begin and end, in samples; none is longer than ``most``.

    Args:
        waveform: Samples, (S,).
        sample_rate: Samples per second.
        most: Seconds of a part at most.
    """
    longest, spans, start = most * sample_rate, [], 0
    width = max(1, int(QUIET * sample_rate))
    while len(waveform) - start > longest:
        longest = int(longest)
        earliest = start + max(width, int(longest * (1 - SEARCHED)))
        searched = waveform[earliest - width : start + longest]
        power = searched.square().double().cumsum(0)
        energies = power[width:] - power[:-width]
        end = earliest - width // 2 + int(energies.argmin())
        spans.append((start, end))
        start = end
    return [*spans, (start, len(waveform))]
