"""The Audio Spectrogram Transformer: a vision transformer that looks at spectrograms."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import PreNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.dropout import Dropout
from headway.core.embeddings import OverlappingPatchEmbedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.heads import ClassificationHead
from headway.core.heads.pooling import PoolingLayer
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import LearnedPosition
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.speech.audio_classifier import AudioClassifier, checked_classes
from headway.speech.front_ends import FixedFbank


class FrontPooling(PoolingLayer):
    """The mean of the first two tokens, of class and distillation."""

    def forward(self, x: Tensor, layout: Layout | None = None) -> Tensor:
        """Averages them."""
        return (x[:, 0] + x[:, 1]) / 2


@system(
    id=None,
    name="AST",
    paper="https://arxiv.org/abs/2104.01778",
    claim="patches of a spectrogram that overlap and know their places tell sounds apart; without places the "
    "order of sounds is lost",
    test="packages/speech/tests/models/test_audio_spectrogram.py",
)
class AST(AudioClassifier):
    """Overlapping patches of a spectrogram as tokens, behind tokens of class and distillation.

    Positions are learned for the grid of the front end's steps, and interpolated for any other.

    Args:
        classes: Names of the classes; data bring their own.
        front_end: What turns samples into a spectrogram of a fixed number of steps.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        patch: Side of a patch, in bands and steps.
        stride: From one patch to the next, in bands and steps.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block, ``(dim, heads, ...)``; one with adapters for fine-tuning.
        position: Builds the positions, ``(dim, grid, prefix)``; none if None.
        dropout: Probability of dropping a channel of a token in training.
        drop_path: Rate of stochastic depth of the last block.

    Shape:
        inputs: (B, T, bands). Output: (B, classes).

    Raises:
        UserError: If a patch is larger than the spectrogram.

    Source:
        Gong et al. 2021, https://arxiv.org/abs/2104.01778, section 2.
    """

    undecayed: ClassVar[tuple[str, ...]] = ("front",)

    def __init__(
        self,
        *,
        classes: Sequence[str] = (),
        front_end: FixedFbank | None = None,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        patch: int = 16,
        stride: int | Sequence[int] = 10,
        mixer: MixerFactories = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
        norm: Callable[[int], nn.Module] = partial(LayerNorm, eps=1e-12),  # noqa: B008
        block: BlockFactory = PreNormBlock,
        position: Callable[[int, Sequence[int], int], nn.Module] | None = LearnedPosition,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        front_end = front_end or FixedFbank()
        super().__init__(classes=classes, front_end=front_end)
        assert front_end.bands is not None
        self.bands = front_end.bands
        self.embedding = OverlappingPatchEmbedding(
            dim, patch=stride, kernel=patch, padding=0, channels=1
        )
        grid = self.embedding.grid((self.bands, front_end.steps))
        self.front = nn.Parameter(truncated_normal_(torch.empty(1, 2, dim)))
        self.position = position(dim, grid, 2) if position is not None else None
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=norm,
            block=block,
            drop_path=drop_path,
        )
        self.head = ClassificationHead(
            dim, len(self.classes), pooling=FrontPooling, norm=norm, dropout=dropout
        )
        init_transformer_(self.encoder)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits; what a recording was filled up with is heard, too, as published.

        Raises:
            UserError: If the inputs are no such spectrograms.
        """
        return self.head(*self.tokens(inputs))

    def tokens(self, inputs: Tensor) -> tuple[Tensor, Layout]:
        """Returns what the encoder makes of the tokens of class and distillation and of the patches behind.

        Raises:
            UserError: If the inputs are no such spectrograms.

        Shape:
            inputs: (B, T, bands). Output: (B, 2 + patches, dim) and the layout.
        """
        if inputs.ndim != 3 or inputs.shape[2] != self.bands:
            raise UserError(
                f"spectrograms must be (B, T, {self.bands}), got {tuple(inputs.shape)}; make them with "
                "the model's front_end"
            )
        x, layout = self.embedding(inputs.transpose(1, 2)[:, None])
        layout = layout.replace(prefix=2)
        x = torch.cat([self.front.expand(x.shape[0], -1, -1), x], dim=1)
        if self.position is not None:
            x = x + self.position(layout, x.shape[1])
        return self.encoder(self.dropout(x), layout)

    def set_classes(self, classes: Sequence[str]) -> None:
        """Takes other classes, and begins a classifier for them."""
        self.classes = self.init_args["classes"] = checked_classes(classes)
        old = self.front
        self.head.reset(len(self.classes))
        self.head.to(old.device, old.dtype)
