"""Low frame rate: several frames in one step."""

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.speech.front_ends.spectral import Normalise, SpectralFrontEnd


class StackedFrames(SpectralFrontEnd):
    """Puts neighbouring frames of another front end side by side in a step, and takes fewer steps.

    A recording of T frames gives ``ceil(T / step)`` steps. The first frame stands before the beginning as
    often as half of a step needs it, the last one behind the end.

    Args:
        front_end: Makes the frames, not normalised.
        frames: Frames of a step.
        step: Frames from one step to the next.
        normalise: As of every ``SpectralFrontEnd``, of the bands of a step.

    Raises:
        UserError: If a number is below 1, or the frames are normalised already.

    Source:
        FunASR, WavFrontend (7 frames, 6 from one step to the next); Pundak and Sainath 2016,
        https://doi.org/10.21437/Interspeech.2016-275.
    """

    def __init__(
        self,
        *,
        front_end: SpectralFrontEnd,
        frames: int = 7,
        step: int = 6,
        normalise: Normalise = "global",
    ) -> None:
        if frames < 1 or step < 1:
            raise UserError(f"frames {frames} and step {step} must be at least 1")
        if front_end.normalise != "none":
            raise UserError(
                f"the frames are normalised ({front_end.normalise}) before they are stacked; give the front "
                "end inside normalise none"
            )
        super().__init__(
            sample_rate=front_end.sample_rate, bands=frames * front_end.mels, normalise=normalise
        )
        self.front_end, self.count, self.step = front_end, frames, step
        self.hop = step * front_end.hop

    @property
    def rate(self) -> float:
        """Steps per second."""
        return self.front_end.rate / self.step

    @property
    def least(self) -> int:
        """Samples of a frame."""
        return self.front_end.least

    @property
    def reach(self) -> tuple[int, int] | None:
        """Samples that the frames of a step hear, if no step is normalised by the whole recording."""
        inside = self.front_end.reach
        if inside is None or self.normalise == "utterance":
            return None
        before = (self.count - 1) // 2
        behind = self.count - 1 - before
        hop = self.front_end.hop
        return before * hop + inside[0], behind * hop + inside[1]

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns the frames divided by ``step``, rounded up."""
        return -torch.div(-self.front_end.output_lengths(lengths), self.step, rounding_mode="floor")

    def features(self, waveforms: Tensor) -> Tensor:
        """Returns the bands before normalisation of recordings that end where the samples do."""
        return self.steps_of(waveforms, waveforms.new_full((len(waveforms),), waveforms.shape[1]))

    def steps_of(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Returns the bands before normalisation."""
        x = self.front_end.features(waveforms)
        last = self.front_end.output_lengths(lengths.long()) - 1
        steps = -(-x.shape[1] // self.step)
        device = x.device
        first = self.step * torch.arange(steps, device=device) - (self.count - 1) // 2
        places = first[:, None] + torch.arange(self.count, device=device)
        places = torch.minimum(places.clamp_min(0), last[:, None, None]).clamp_min(0)
        rows = torch.arange(len(x), device=device)[:, None, None]
        return x[rows, places].flatten(2)
