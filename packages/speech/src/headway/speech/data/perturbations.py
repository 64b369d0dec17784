"""What is done to the samples of training recordings so that a model hears more than there is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import gcd
from pathlib import Path

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.data.audio import EXTENSIONS, read_audio, resampler

# The finest step of a speed, so that the filter of the resampler stays small.
FINEST = 100


class Perturbation(ABC):
    """Alters the samples of a recording; the text stays what it was.

    It draws from torch's generator, which a data module seeds by seed, epoch and index of the recording, so
    that what a row becomes does not depend on its batch, on workers or on where a run was broken off.
    """

    longest: float = 1.0
    """How much longer a recording may become, as a factor."""

    @abstractmethod
    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Returns altered samples.

        Shape:
            waveform: (S,). Output: (S',).
        """


def perturbed(waveform: Tensor, sample_rate: int, by: Sequence[Perturbation]) -> Tensor:
    """Returns samples that were altered by one perturbation after the other."""
    for perturbation in by:
        waveform = perturbation(waveform, sample_rate)
    return waveform


class SpeedPerturbation(Perturbation):
    """Plays a recording faster or slower: time and pitch change together, as with a tape.

    Args:
        factors: Speeds, one of which is drawn for each recording; in hundredths.

    Shape:
        waveform: (S,). Output: (S',), S divided by the factor, rounded up.

    Raises:
        UserError: If there is no factor, or one is no speed.

    Source:
        Ko et al. 2015, https://doi.org/10.21437/Interspeech.2015-711.
    """

    def __init__(self, *, factors: Sequence[float] = (0.9, 1.0, 1.1)) -> None:
        for factor in factors:
            if not 0.25 <= factor <= 4 or abs(factor * FINEST - round(factor * FINEST)) > 1e-6:
                raise UserError(f"the factor {factor} is no speed from .25 to 4 in steps of .01")
        if not factors:
            raise UserError("factors is empty; give speeds such as (0.9, 1.0, 1.1)")
        self.factors = tuple(factors)
        self.longest = max(1.0, 1.0 / min(factors))

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Resamples."""
        factor = self.factors[int(torch.randint(len(self.factors), ()))]
        hundredths = round(factor * FINEST)
        step = gcd(hundredths, FINEST)
        if hundredths == FINEST:
            return waveform
        # As if it had been recorded at another rate; the ratio alone counts.
        return resampler(hundredths // step, FINEST // step)(waveform)


class GainPerturbation(Perturbation):
    """Makes a recording louder or softer, as another distance to the microphone does.

    Args:
        decibels: Least and largest gain, between which one is drawn for each recording.

    Raises:
        UserError: If they are no range of at most 60 decibels.
    """

    def __init__(self, *, decibels: tuple[float, float] = (-12.0, 12.0)) -> None:
        self.decibels = _decibels(decibels)

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Multiplies."""
        return waveform * _amplitude(_between(self.decibels, torch.rand(())))


class FilterPerturbation(Perturbation):
    """Filters a recording as another microphone, room or throat does.

    A gain is drawn for each of some frequencies, the lowest and the highest among them and the others drawn,
    too; between them gains in decibels lie on straight lines.

    Args:
        decibels: Least and largest gain.
        bands: Least and largest number of stretches between frequencies.

    Raises:
        UserError: If decibels are no range of at most 60, or bands none of 1 to 100.

    Source:
        Nam et al. 2022, https://arxiv.org/abs/2110.03282 (FilterAugment, linear), there on mel bands.
    """

    def __init__(
        self, *, decibels: tuple[float, float] = (-6.0, 6.0), bands: tuple[int, int] = (3, 6)
    ) -> None:
        self.decibels = _decibels(decibels)
        if not 1 <= bands[0] <= bands[1] <= 100:
            raise UserError(f"bands {tuple(bands)} are a least and a largest number of 1 to 100")
        self.bands = (bands[0], bands[1])

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Multiplies the spectrum."""
        count = int(torch.randint(self.bands[0], self.bands[1] + 1, ()))
        edges = torch.cat([torch.zeros(1), torch.rand(count - 1).sort().values, torch.ones(1)])
        gains = _between(self.decibels, torch.rand(count + 1))
        spectrum = torch.fft.rfft(waveform)
        at = torch.linspace(0, 1, len(spectrum))
        behind = torch.searchsorted(edges, at).clamp(1, count)
        share = (at - edges[behind - 1]) / (edges[behind] - edges[behind - 1]).clamp_min(1e-9)
        curve = torch.lerp(gains[behind - 1], gains[behind], share.clamp(0, 1))
        return torch.fft.irfft(spectrum * _amplitude(curve), n=len(waveform))


class NoisePerturbation(Perturbation):
    """Adds a stretch of a recording of noise, drawn anew for each recording.

    Args:
        path: A recording of noise, or a folder of them (with subfolders).
        decibels: Least and largest ratio of the power of speech to that of the noise.
        share: Probability that a recording gets noise.

    Raises:
        UserError: If there is no noise, or a number is outside its range.
    """

    def __init__(
        self, *, path: str, decibels: tuple[float, float] = (5.0, 20.0), share: float = 0.5
    ) -> None:
        if not -100 <= decibels[0] <= decibels[1] <= 100 or not 0 <= share <= 1:
            raise UserError(
                f"decibels {tuple(decibels)} are a least and a largest of at most 100, and share {share} "
                "lies in 0..1"
            )
        root = Path(path).expanduser()
        files = sorted(root.rglob("*")) if root.is_dir() else [root]
        self.files = [
            file for file in files if file.is_file() and file.suffix.lower() in EXTENSIONS
        ]
        if not self.files:
            raise UserError(f"{root} holds no recording of noise; known: {', '.join(EXTENSIONS)}")
        self.decibels, self.share = (decibels[0], decibels[1]), share
        self._kept: dict[tuple[Path, int], Tensor] = {}

    def __call__(self, waveform: Tensor, sample_rate: int) -> Tensor:
        """Adds noise, which begins anew where it is shorter than the recording."""
        # All draws come first: how many there are does not depend on what is drawn.
        wanted = float(torch.rand(()))
        file = self.files[int(torch.randint(len(self.files), ()))]
        place, level = float(torch.rand(())), torch.rand(())
        if wanted >= self.share:
            return waveform
        noise = self._read(file, sample_rate)
        start = int(place * len(noise))
        places = (start + torch.arange(len(waveform))) % len(noise)
        noise = noise[places]
        power, speech = noise.square().mean(), waveform.square().mean()
        if not bool(power > 0):
            return waveform
        ratio = _amplitude(_between(self.decibels, level)) ** 2
        return waveform + noise * (speech / (ratio * power)).sqrt()

    def _read(self, file: Path, sample_rate: int) -> Tensor:
        if (file, sample_rate) not in self._kept:
            self._kept[file, sample_rate] = read_audio(file, sample_rate=sample_rate)
        return self._kept[file, sample_rate]


def _decibels(given: tuple[float, float]) -> tuple[float, float]:
    """Returns a range of gains, checked."""
    least, largest = given
    if not -60 <= least <= largest <= 60:
        raise UserError(f"decibels {tuple(given)} are a least and a largest gain of at most 60")
    return least, largest


def _between(limits: tuple[float, float], share: Tensor) -> Tensor:
    return limits[0] + share * (limits[1] - limits[0])


def _amplitude(decibels: Tensor) -> Tensor:
    return 10 ** (decibels / 20)
