"""What every model that makes sound from what it hears of recordings is."""

from abc import abstractmethod
from functools import partial

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.batch import SpeechBatch
from headway.speech.front_ends import Features, LogMel
from headway.speech.layers import WaveGenerator
from headway.speech.layers.padding import mask_of, zero_beyond
from headway.speech.losses import log_spectral_distance
from headway.speech.speech_model import SpeechModel


class SoundModel(SpeechModel):
    """Makes recordings again from what is left of them: mel features, or their lower frequencies.

    A step of what it hears becomes ``front_end.hop`` samples.

    Args:
        front_end: What it hears.
    """

    generator: WaveGenerator

    def __init__(self, *, front_end: LogMel) -> None:
        super().__init__(front_end=front_end)

    @property
    def mel(self) -> LogMel:
        """What its features are."""
        assert isinstance(self.front_end, LogMel)
        return self.front_end

    def hear(self, waveforms: Tensor, lengths: Tensor | None = None) -> Features:
        """Returns what the model makes sound of: its features of recordings that lack something."""
        return self.front_end(waveforms, lengths)

    def spoil(self, waveforms: Tensor) -> Tensor:
        """Returns recordings without what the model shall bring back, (B, S); as they are by default."""
        return waveforms

    @abstractmethod
    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns samples of what was heard.

        Args:
            inputs: Steps of features.
            lengths: Steps of each; all of them if None.

        Shape:
            inputs: (B, T, bands). lengths: (B,). Output: (B, T * hop).
        """

    def renew(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns recordings as the model makes them again, and how many samples of each there are.

        Args:
            waveforms: Samples.
            lengths: Samples of each.

        Shape:
            waveforms: (B, S). lengths: (B,). Output: (B, S'), whole steps, and (B,).
        """
        features, steps = self.hear(waveforms, lengths)
        return self(features, steps), steps * self.mel.hop

    def loss(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Returns the error of the log-mel bands of recordings that were spoiled and made again.

        ``spectral`` is their log-spectral distance, in the unit of ten decibels.
        """
        spoiled = self.spoil(zero_beyond(batch.inputs, batch.lengths))
        made, samples = self.renew(spoiled, batch.lengths)
        wanted = zero_beyond(batch.inputs[:, : made.shape[1]], samples)
        steps = samples // self.mel.hop
        apart = (self.mel.features(made) - self.mel.features(wanted)).abs().mean(dim=2)
        real = mask_of(steps, apart.shape[1])
        distance = log_spectral_distance(made, wanted, samples, size=self.mel.size)
        return {"loss": (apart * real).sum() / real.sum(), "spectral": distance.mean()}

    def fold(self) -> None:
        """Makes one tensor of length and direction of each weight: the same answers, sooner."""
        self.generator.fold()
        # What is saved now has no two parts.
        self.init_args["generator"] = partial(self.init_args["generator"], normalised=False)


class Vocoder(SoundModel):
    """Makes sound of mel features."""

    def sound(self, features: Tensor, lengths: Tensor, mel: LogMel) -> Tensor:
        """Returns samples of features that another front end of the same bands made.

        Args:
            features: Steps of features.
            lengths: Steps of each.
            mel: The front end that they belong to.

        Shape:
            features: (B, T, bands). lengths: (B,). Output: (B, T * hop).

        Raises:
            UserError: If the bands are not those of this vocoder.
        """
        self.mel.check_same_bands(mel)
        return self(self.mel.of_amplitudes(mel.amplitudes(features)), lengths)


def check_hop(generator: WaveGenerator, front_end: LogMel) -> None:
    """Raises if a generator makes another number of samples of a step than lie between two steps.

    Raises:
        UserError: It names both.
    """
    if generator.hop != front_end.hop:
        rates = " x ".join(map(str, generator.rates))
        raise UserError(
            f"rates of {rates} make {generator.hop} samples of a step, and the front end has a step for "
            f"{front_end.hop}; make them the same"
        )


def take_segments(
    steps: Tensor, features: Tensor, waveforms: Tensor, size: int, hop: int
) -> tuple[Tensor, Tensor]:
    """Returns a stretch of each item, drawn by torch's generator: its features and its samples.

    An item that is shorter than others is taken from its beginning.

    Args:
        steps: Steps of each.
        features: Steps of features.
        waveforms: Samples.
        size: Steps of a stretch.
        hop: Samples of a step.

    Shape:
        steps: (B,). features: (B, T, bands). waveforms: (B, S). Output: (B, size, bands), (B, size * hop).
    """
    free = (steps - size).clamp_min(0) + 1
    starts = (torch.rand(len(steps), device=steps.device) * free).long()
    places = starts[:, None] + torch.arange(size, device=steps.device)
    samples = hop * starts[:, None] + torch.arange(size * hop, device=steps.device)
    rows = torch.arange(len(steps), device=steps.device)[:, None]
    return features[rows, places], waveforms[rows, samples]
