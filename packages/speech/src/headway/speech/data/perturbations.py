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
        place, level = float(torch.rand(())), float(torch.rand(()))
        if wanted >= self.share:
            return waveform
        noise = self._read(file, sample_rate)
        start = int(place * len(noise))
        places = (start + torch.arange(len(waveform))) % len(noise)
        noise = noise[places]
        power, speech = noise.square().mean(), waveform.square().mean()
        if not bool(power > 0):
            return waveform
        least, largest = self.decibels
        ratio = 10 ** ((least + level * (largest - least)) / 10)
        return waveform + noise * (speech / (ratio * power)).sqrt()

    def _read(self, file: Path, sample_rate: int) -> Tensor:
        if (file, sample_rate) not in self._kept:
            self._kept[file, sample_rate] = read_audio(file, sample_rate=sample_rate)
        return self._kept[file, sample_rate]
