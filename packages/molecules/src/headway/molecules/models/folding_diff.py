"""FoldingDiff: a diffusion over the angles of protein backbones."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.generation.diffusion import GaussianDiffusion, LinearDiffusion, sample
from headway.core.init import init_transformer_
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeVectors
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.molecules.proteins.angles import ANGLES, wrapped

NARROW_MLP = partial(MLP, mlp_ratio=2)
FINE_NORM = partial(LayerNorm, eps=1e-12)


class RandomWaves(Module):
    """The step of a process as sines and cosines of random frequencies, which are saved with the weights.

    Args:
        dim: Channels, an even number.

    Shape:
        step: (B,). Output: (B, dim).

    Source:
        Tancik et al. 2020, https://arxiv.org/abs/2006.10739, section 4; scaled by 2 pi as in FoldingDiff.
    """

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.randn(dim // 2) * 2 * math.pi)

    def forward(self, step: Tensor) -> Tensor:
        """Returns the waves."""
        angles = step[:, None].to(self.frequencies.dtype) * self.frequencies * 2 * math.pi
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


@system(
    id=438,
    name="FoldingDiff",
    paper="https://arxiv.org/abs/2209.15611",
    claim="noise that goes round the circle: angles at its seam are generated, which the same diffusion on a "
    "line spreads over the rest",
    test="packages/molecules/tests/models/test_folding_diff.py",
)
class FoldingDiff(Module):
    """Says which noise is in the angles of a backbone; goes from noise to backbones.

    Each residue is a token of six angles. The published model has 12 blocks of 384 channels and 12 heads, and
    chains of 128 residues at most.

    Args:
        dim: Channels of a residue.
        depth: Number of blocks.
        heads: Heads of the mixers.
        max_length: Most residues of a chain.
        process: How noise is added.
        mixer: Builds the mixer, ``(dim, heads)``; vectors of relative positions, if None.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        block: Builds a block; the norm stands behind each sum.
        dropout: Probability of dropping a channel of a branch in training.

    Shape:
        angles: (B, N, 6) in radians, their mean taken away. step: (B,). Output: the noise, (B, N, 6).

    Raises:
        UserError: If ``max_length`` is less than 2.

    Source:
        Wu et al. 2022, https://arxiv.org/abs/2209.15611, section 2.
    """

    mean: Tensor

    def __init__(
        self,
        *,
        dim: int = 384,
        depth: int = 12,
        heads: int = 12,
        max_length: int = 128,
        process: GaussianDiffusion | None = None,
        mixer: MixerFactories | None = None,
        feedforward: FeedForwardFactory = NARROW_MLP,
        norm: Callable[[int], nn.Module] = FINE_NORM,
        block: BlockFactory = PostNormBlock,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if max_length < 2:
            raise UserError(f"max_length is {max_length}; a backbone has at least 2 residues")
        self.max_length = max_length
        self.process = process if process is not None else LinearDiffusion()
        if mixer is None:
            position = partial(RelativeVectors, reach=max_length - 1, values=False)
            mixer = partial(SelfAttention, position=position, out_dropout=dropout)
        self.register_buffer("mean", torch.zeros(len(ANGLES)))
        self.input = nn.Linear(len(ANGLES), dim)
        self.input_norm = norm(dim)
        self.step = RandomWaves(dim)
        self.dropout = nn.Dropout(dropout)
        parts: dict[str, Any] = {"feedforward": feedforward, "norm": norm, "block": block}
        self.encoder = Encoder(dim, depth, heads, mixer=mixer, final_norm=False, **parts)
        self.head = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU(), norm(dim), nn.Linear(dim, len(ANGLES))
        )
        init_transformer_(self)

    def forward(self, angles: Tensor, step: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the noise in the angles.

        Args:
            angles: Noisy angles.
            step: Of the process, of each chain.
            lengths: Residues of each chain, (B,); all if None.
        """
        if isinstance(angles.shape[1], int) and angles.shape[1] > self.max_length:
            raise UserError(
                f"a chain of {angles.shape[1]} residues is longer than the {self.max_length} of the model"
            )
        x = self.dropout(self.input_norm(self.input(angles))) + self.step(step)[:, None]
        layout = Layout(lengths=lengths) if lengths is not None else None
        return self.head(self.encoder(x, layout)[0])

    def on_circle(self, angles: Tensor) -> Tensor:
        """Returns angles as they are meant: on the circle, between -pi and pi."""
        return wrapped(angles)

    def loss(
        self,
        angles: Tensor,
        *,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns how far the noise that the model says is from what was added, the short way round.

        Args:
            angles: Of backbones, in radians, as ``angles_of`` gives them.
            lengths: Residues of each chain, (B,); all if None.
            generator: Of the noise and of the steps.
        """
        start = self.on_circle(angles - self.mean)
        step, noise = self.process.draw(start, generator)
        noise = self.on_circle(noise)
        noisy = self.on_circle(self.process.add_noise(start, step, noise))
        wrong = self.on_circle(self(noisy, step, lengths=lengths) - noise)
        each = nn.functional.smooth_l1_loss(
            wrong, torch.zeros_like(wrong), beta=math.pi / 10, reduction="none"
        )
        real = Layout(lengths=lengths).token_mask(angles.shape[1])
        return each.mean() if real is None else each[real].mean()

    @torch.no_grad()
    def sample(
        self,
        lengths: Tensor,
        *,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns angles of new backbones, (B, longest, 6) in radians.

        Args:
            lengths: Residues of each, (B,).
            steps: How many steps are made; all of the process if None.
            generator: Of the noise.

        Raises:
            UserError: If one is shorter than 2 residues or longer than ``max_length``.
        """
        if int(lengths.min()) < 2 or int(lengths.max()) > self.max_length:
            raise UserError(
                f"backbones of {int(lengths.min())} to {int(lengths.max())} residues; this model makes 2 to "
                f"{self.max_length}"
            )
        device = self.mean.device
        lengths = lengths.to(device)
        shape = (len(lengths), int(lengths.max()), len(ANGLES))

        def denoise(x: Tensor, step: Tensor) -> Tensor:
            return self.process.start_of(x, step, self(x, step, lengths=lengths))

        def draw() -> Tensor:
            place = device if generator is None else generator.device
            return torch.randn(shape, generator=generator, device=place).to(self.mean)

        found = sample(
            denoise,
            self.process,
            shape,
            steps=steps,
            limit=None,
            condition=_Circle(self),
            draw=lambda: self.on_circle(draw()),
            device=device,
        )
        return self.on_circle(found + self.mean)


class _Circle:
    """Keeps samples on the circle."""

    def __init__(self, model: FoldingDiff) -> None:
        self.model = model

    def hold(self, x: Tensor, *told: Any) -> Tensor:
        """Returns the angles between -pi and pi."""
        return self.model.on_circle(x)
