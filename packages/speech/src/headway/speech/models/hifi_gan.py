"""HiFi-GAN: mel features become sound in one pass of convolutions."""

from collections.abc import Callable

from torch import Tensor

from headway.core.systems import system
from headway.speech.front_ends import LogMel
from headway.speech.layers import WaveGenerator
from headway.speech.sound_model import Vocoder, check_hop


@system(
    id=None,
    name="HiFi-GAN",
    paper="https://arxiv.org/abs/2010.05646",
    claim="branches that see several stretches make sound of mel features in one pass",
    test="packages/speech/tests/models/test_hifi_gan.py",
)
class HiFiGAN(Vocoder):
    """A vocoder that was taught by discriminators (``tasks.SoundGeneration``).

    Args:
        front_end: Mel features; those of 22,050 Hz up to 8 kHz if None.
        generator: Builds what makes samples, ``(bands)``; its rates multiply to the hop of the front end.

    Shape:
        inputs: (B, T, bands). lengths: (B,). Output: (B, T * hop).

    Raises:
        UserError: If generator and front end have another number of samples for a step.

    Source:
        Kong et al. 2020, https://arxiv.org/abs/2010.05646.
    """

    def __init__(
        self,
        *,
        front_end: LogMel | None = None,
        generator: Callable[[int], WaveGenerator] = WaveGenerator,
    ) -> None:
        super().__init__(front_end=LogMel(highest=8000) if front_end is None else front_end)
        self.generator = generator(self.mel.mels)
        check_hop(self.generator, self.mel)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns samples of features as its front end makes them."""
        return self.generator(inputs, lengths)
