"""SwinLSTM: the next frames of a film."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.norms import LayerNorm
from headway.core.systems import system
from headway.timeseries.fields.layers.swin_cell import (
    OverlappingPatches,
    Plain,
    Shifted,
    State,
    SwinLSTMCell,
)
from headway.timeseries.fields.models.simulator import Simulator


@system(
    id=0,
    name="SwinLSTM",
    paper="https://arxiv.org/abs/2308.09891",
    claim="an LSTM whose only gate is a stack of window attention follows what moves; a gate of single "
    "positions cannot",
    test="packages/timeseries/tests/fields/models/test_swin_lstm.py",
)
class SwinLSTM(Simulator):
    """Reads frames one after the other, and goes on with its own predictions.

    Args:
        channels: Of a frame.
        patch: Side of a patch, a divisor of height and width.
        dim: Channels of a token.
        heads: Heads of the mixers.
        cells: Cells, one upon the other.
        depth: Blocks of a cell.
        mixer: Builds the mixers, ``(dim, heads)``; a sequence is cycled over the depth.
        feedforward: Builds the feed-forwards, ``(dim)``.
        head: Builds what writes a frame, ``(dim, channels, patch)``.

    Shape:
        frames: (B, T, channels, H, W), 0 to 1. Output: (B, steps, channels, H, W), 0 to 1.

    Source:
        Tang et al. 2023, https://arxiv.org/abs/2308.09891: SwinLSTM-B as in the authors' code. Several
        cells keep one width; their SwinLSTM-D, which merges patches, is not here.
    """

    def __init__(
        self,
        *,
        channels: int = 1,
        patch: int = 2,
        dim: int = 128,
        heads: int = 4,
        cells: int = 1,
        depth: int = 2,
        mixer: MixerFactories = (Plain, Shifted),
        feedforward: FeedForwardFactory = MLP,
        head: Callable[[int, int, int], nn.Module] = OverlappingPatches,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("patch", patch), ("cells", cells)):
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.channels, self.patch = channels, patch
        self.embedding = nn.Conv2d(channels, dim, patch, stride=patch)
        self.norm = LayerNorm(dim, eps=1e-5)
        self.cells = nn.ModuleList(
            SwinLSTMCell(dim, heads, depth=depth, mixer=mixer, feedforward=feedforward)
            for _ in range(cells)
        )
        self.head = head(dim, channels, patch)

    def forward(self, frames: Tensor, steps: int = 1) -> Tensor:
        """Returns the frames that follow the given ones.

        Args:
            frames: The film so far.
            steps: Frames to predict.
        """
        self.check(frames, steps)
        states: list[State | None] = [None] * len(self.cells)
        found = []
        frame = frames[:, 0]
        for moment in range(frames.shape[1] + steps - 1):
            frame = frames[:, moment] if moment < frames.shape[1] else frame
            frame = self._next(frame, states)
            if moment >= frames.shape[1] - 1:
                found.append(frame)
        return torch.stack(found, dim=1)

    def follow(self, frames: Tensor) -> Tensor:
        """Returns for each frame what the model expects next; what it is trained with.

        Shape:
            frames: (B, T, channels, H, W). Output: the same.
        """
        self.check(frames, 1)
        states: list[State | None] = [None] * len(self.cells)
        return torch.stack([self._next(frame, states) for frame in frames.unbind(1)], dim=1)

    def next_frame(self, frames: Tensor, conditions: Tensor | None = None) -> Tensor:
        """Returns the frame after the given ones."""
        return self(frames)[:, 0]

    def rollout(self, frames: Tensor, steps: int, conditions: Tensor | None = None) -> Tensor:
        """Returns the frames that follow; the states go on, no frame is read twice."""
        return self(frames, steps)

    def _next(self, frame: Tensor, states: list[State | None]) -> Tensor:
        """Returns the frame after this one, and moves the states."""
        patches = self.embedding(frame)
        grid = (patches.shape[2], patches.shape[3])
        tokens = self.norm(patches.flatten(2).transpose(1, 2))
        for place, cell in enumerate(self.cells):
            tokens, states[place] = cell(tokens, states[place], Layout(grid=grid))
        return self.head(tokens.transpose(1, 2).unflatten(2, grid)).sigmoid()

    def check(self, frames: Tensor, steps: int) -> None:
        """Raises if ``frames`` cannot be a batch of films, or no step is asked for."""
        shape = tuple(frames.shape)
        if frames.ndim != 5 or shape[2] != self.channels or not shape[1]:
            raise UserError(f"SwinLSTM reads films (B, T, {self.channels}, H, W), got {shape}")
        if shape[3] % self.patch or shape[4] % self.patch:
            raise UserError(
                f"frames of {shape[3]} x {shape[4]} cannot be cut into patches of {self.patch}; "
                "crop or pad them to a multiple"
            )
        if steps < 1:
            raise UserError(f"steps is {steps}; predict at least 1 frame")
