"""HiFi-SR: the frequencies that a recording lacks, by a transformer over its mel features and a generator."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.positions import Rotary
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.front_ends import LogMel
from headway.speech.layers import ReceptiveFields, WaveGenerator
from headway.speech.layers.activations import Snake
from headway.speech.layers.low_pass import bandwidths, low_pass
from headway.speech.layers.padding import zero_beyond
from headway.speech.sound_model import SoundModel, check_hop

SNAKES = partial(
    WaveGenerator,
    channels=1024,
    activation=Snake,
    fields=partial(ReceptiveFields, activation=Snake),
)
ROTARY_ATTENTION = partial(SelfAttention, position=Rotary)


@system(
    id=352,
    name="HiFi-SR",
    paper="https://arxiv.org/abs/2501.10045",
    claim="what a transformer reads anywhere in a recording shapes the frequencies that a generator adds",
    test="packages/speech/tests/models/test_hifi_sr.py",
)
class HiFiSR(SoundModel):
    """Speech super-resolution, from any lower sample rate: train it with a ``BandDiscriminator``.

    It hears a recording of its own rate whose upper frequencies are missing. ``renew`` takes what lies below
    the highest frequency of a recording from the recording itself (``keep``), and so only adds.

    With the same weights the generator gives bit for bit the sound of the published code. That has gated
    single-head attention with memories (MossFormer2) where this one has a transformer of the core with rotary
    positions; the blocks are as wide as ``dim``.

    Args:
        front_end: Mel features of the rate that is made; 80 bands of 48 kHz up to 8 kHz if None.
        rates: Sample rates that recordings are lowered to in training, each item to one of them.
        dim: Channels of a step in the transformer.
        depth: Blocks.
        heads: Heads of the mixers.
        mixer: Builds the token mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        block: Builds a block.
        generator: Builds what makes samples, ``(dim)``.
        keep: Whether the lower frequencies of a recording stay as they are.

    Shape:
        inputs: (B, T, bands). lengths: (B,). Output: (B, T * hop).

    Raises:
        UserError: If a rate is not below that of the front end.

    Source:
        Zhao et al. 2025, https://arxiv.org/abs/2501.10045; https://github.com/modelscope/ClearerVoice-Studio.
    """

    def __init__(
        self,
        *,
        front_end: LogMel | None = None,
        rates: Sequence[int] = (4000, 8000, 16000, 24000, 32000),
        dim: int = 512,
        depth: int = 12,
        heads: int = 8,
        mixer: MixerFactories = ROTARY_ATTENTION,
        feedforward: FeedForwardFactory = MLP,
        block: BlockFactory = PreNormBlock,
        generator: Callable[[int], WaveGenerator] = SNAKES,
        keep: bool = True,
    ) -> None:
        if front_end is None:
            front_end = LogMel(sample_rate=48000, highest=8000)
        super().__init__(front_end=front_end)
        wrong = [rate for rate in rates if not 0 < rate < front_end.sample_rate]
        if wrong or not rates:
            raise UserError(
                f"rates are {tuple(rates)}; each lies below the {front_end.sample_rate} Hz that are made"
            )
        self.shares = tuple(rate / front_end.sample_rate for rate in rates)
        self.keep = keep
        self.stem = nn.Linear(front_end.mels, dim)
        self.encoder = Encoder(dim, depth, heads, mixer=mixer, feedforward=feedforward, block=block)
        init_transformer_(self.encoder)
        self.generator = generator(dim)
        check_hop(self.generator, front_end)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns samples with all frequencies."""
        if lengths is not None:
            inputs = zero_beyond(inputs, lengths)
        layout = None if lengths is None else Layout(lengths=lengths)
        read, _ = self.encoder(self.stem(inputs), layout)
        return self.generator(read, lengths)

    def spoil(self, waveforms: Tensor) -> Tensor:
        """Returns recordings without the frequencies above half of one of the rates.

        In training the rate of each is drawn by torch's generator; otherwise they follow one another.
        """
        count = len(waveforms)
        shares = torch.tensor(self.shares, device=waveforms.device)
        if self.training:
            chosen = torch.randint(len(shares), (count,), device=waveforms.device)
        else:
            chosen = torch.arange(count, device=waveforms.device) % len(shares)
        return low_pass(waveforms, shares[chosen])

    def renew(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns recordings with the frequencies that they lack, and how many samples of each there are."""
        made, samples = super().renew(waveforms, lengths)
        if not self.keep:
            return made, samples
        given = zero_beyond(waveforms, lengths)
        # Behind the last whole step there is nothing to add.
        cut = min(given.shape[1], made.shape[1])
        given = zero_beyond(given[:, :cut], samples)
        made = zero_beyond(made[:, :cut], samples)
        low = low_pass(given - made, bandwidths(given, samples))
        return zero_beyond(made + low, samples), samples
