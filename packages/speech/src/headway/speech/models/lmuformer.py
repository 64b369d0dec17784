"""LMUFormer: keywords by Legendre memories, step by step."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads.classification import classifier
from headway.core.layout import Layout
from headway.core.mixers import LegendreMemory
from headway.core.module import Module
from headway.core.norms import LayerNorm, MaskedBatchNorm
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.audio_classifier import AudioClassifier, checked_classes
from headway.speech.front_ends import FixedFbank, FrontEnd
from headway.speech.layers.stem import zero_beyond


class ConvolutionStem(Module):
    """Convolutions over neighbouring steps, each with ReLU and batch norm, and one whose result is added.

    Args:
        bands: Features of a step.
        dim: Channels of a token.
        layers: Convolutions before the last.

    Shape:
        inputs: (B, T, bands). lengths: (B,). Output: (B, T, dim), zeros behind the end of each item.

    Source:
        Liu et al. 2024, https://arxiv.org/abs/2402.04882, section 4.1, and their code (Tokenizer).
    """

    def __init__(self, bands: int, dim: int, *, layers: int = 4) -> None:
        super().__init__()
        if layers < 1:
            raise UserError(f"layers is {layers}; it must be at least 1")
        widths = [bands, *[dim] * layers]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(wide, narrow, 3, padding=1, bias=False)
            for wide, narrow in zip(widths, widths[1:], strict=False)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(dim) for _ in range(layers))
        self.places = nn.Conv1d(dim, dim, 3, padding=1, bias=False)

    @property
    def ahead(self) -> int:
        """Steps that a token hears ahead."""
        return len(self.convolutions) + 1

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Convolves."""
        x = zero_beyond(inputs, lengths)
        real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = zero_beyond(norm(_over_time(convolution, x).relu(), real), lengths)
        return x + zero_beyond(_over_time(self.places, x), lengths)


@system(
    id=199,
    name="LMUFormer",
    paper="https://arxiv.org/abs/2402.04882",
    claim="Legendre memories tell keywords apart by what was heard long before, and there is an answer at every "
    "step",
    test="packages/speech/tests/models/test_lmuformer.py",
)
class LMUFormer(AudioClassifier):
    """Convolutions over a few steps, blocks of Legendre memory and feed-forward, and the mean over the steps.

    An answer can be had at every step: what comes later than ``ahead`` steps does not change it.

    Args:
        classes: Names of the classes; data bring their own.
        front_end: What turns samples into features.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Signals of each memory.
        layers: Convolutions in front.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms in front of the branches of a block, ``(dim)``.

    Shape:
        inputs: (B, T, bands). lengths: (B,). Output: (B, classes).

    Source:
        Liu et al. 2024, https://arxiv.org/abs/2402.04882, section 4, without spikes. Theirs has a batch norm
        behind each branch of a block; here a norm of each token stands in front.
    """

    def __init__(
        self,
        *,
        classes: Sequence[str] = (),
        front_end: FrontEnd | None = None,
        dim: int = 256,
        depth: int = 1,
        heads: int = 1,
        layers: int = 4,
        mixer: MixerFactories = partial(LegendreMemory, order=256, window=128),  # noqa: B008
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = LayerNorm,
    ) -> None:
        front_end = front_end or FixedFbank(steps=128)
        super().__init__(classes=classes, front_end=front_end)
        if front_end.bands is None:
            raise UserError("LMUFormer hears bands of a spectrum; give it such a front_end")
        self.bands, self.dim = front_end.bands, dim
        self.stem = ConvolutionStem(front_end.bands, dim, layers=layers)
        self.encoder = Encoder(dim, depth, heads, mixer=mixer, feedforward=feedforward, norm=norm)
        self.head = classifier(dim, len(self.classes))

    @property
    def ahead(self) -> int:
        """Steps that an answer waits for."""
        return self.stem.ahead

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits."""
        x, lengths = self._tokens(inputs, lengths)
        return self.head(zero_beyond(x, lengths).sum(dim=1) / lengths[:, None].to(x.dtype))

    def answers(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits of what was heard up to each step, (B, T, classes).

        The answer of an item is that of its last real step.
        """
        x, _ = self._tokens(inputs, lengths)
        heard = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
        return self.head(x.cumsum(dim=1) / heard[:, None])

    def set_classes(self, classes: Sequence[str]) -> None:
        """Takes other classes, and begins a classifier for them."""
        self.classes = self.init_args["classes"] = checked_classes(classes)
        old = self.stem.places.weight
        self.head = classifier(self.dim, len(self.classes)).to(old.device, old.dtype)

    def _tokens(self, inputs: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if inputs.ndim != 3 or inputs.shape[2] != self.bands:
            raise UserError(
                f"features must be (B, T, {self.bands}), got {tuple(inputs.shape)}; make them with the "
                "model's front_end"
            )
        if lengths is None:
            lengths = torch.full((inputs.shape[0],), inputs.shape[1], device=inputs.device)
        x = self.stem(inputs, lengths)
        x, _ = self.encoder(x, Layout(lengths=lengths))
        return x, lengths


def _over_time(convolution: nn.Module, x: Tensor) -> Tensor:
    return convolution(x.transpose(1, 2)).transpose(1, 2)
