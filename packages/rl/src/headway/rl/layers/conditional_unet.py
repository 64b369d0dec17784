"""Convolutions over a chunk of actions at several speeds, modulated by what was seen."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from headway.core.embeddings import step_embedding
from headway.core.errors import UserError
from headway.core.module import Module


class ConditionalUNet(Module):
    """Says something of each step of a sequence, from coarse to fine, under a condition.

    Args:
        channels: Numbers of a step, in and out.
        condition_dim: Numbers of the condition.
        widths: Channels at each level; from one level to the next there are half as many steps.
        kernel: Steps that a convolution reads, odd.
        groups: Groups of the norms, of which the widths are multiples.
        step_dim: Channels of the step of a diffusion, even.
        scale: Whether the condition chooses a gain of each channel, or a bias alone (FiLM).

    Shape:
        x: (B, N, channels), N a multiple of ``factor``. step: (B,). condition: (B, condition_dim).
        Output: as x.

    Raises:
        UserError: If sizes do not go together.

    Source:
        Chi et al. 2023, https://arxiv.org/abs/2303.04137, section 3.1; Janner et al. 2022,
        https://arxiv.org/abs/2205.09991; Perez et al. 2017 (FiLM), https://arxiv.org/abs/1709.07871.
    """

    def __init__(
        self,
        channels: int,
        condition_dim: int,
        *,
        widths: Sequence[int] = (128, 256),
        kernel: int = 5,
        groups: int = 8,
        step_dim: int = 128,
        scale: bool = True,
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1 or any(width % groups for width in widths):
            raise UserError(f"widths are {list(widths)}; they must be multiples of {groups} groups")
        if kernel < 1 or kernel % 2 == 0 or step_dim < 2 or step_dim % 2:
            raise UserError(
                f"kernel is {kernel} and step_dim {step_dim}; an odd and an even number are needed"
            )
        self.factor, self.step_dim = 2 ** (len(widths) - 1), step_dim
        self.step = nn.Sequential(
            nn.Linear(step_dim, 4 * step_dim), nn.Mish(), nn.Linear(4 * step_dim, step_dim)
        )

        def block(before: int, after: int) -> "ResidualConvolutions":
            told = step_dim + condition_dim
            return ResidualConvolutions(
                before, after, told, kernel=kernel, groups=groups, scale=scale
            )

        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise([channels, *widths]):
            self.down.append(nn.ModuleList([block(before, after), block(after, after)]))
        for width in widths[:-1]:
            self.shrink.append(nn.Conv1d(width, width, 3, 2, 1))
        self.middle = nn.ModuleList([block(widths[-1], widths[-1]) for _ in range(2)])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for before, after in pairwise(reversed(widths)):
            self.up.append(nn.ModuleList([block(2 * before, after), block(after, after)]))
            self.grow.append(nn.ConvTranspose1d(after, after, 4, 2, 1))
        self.last = convolution(widths[0], widths[0], kernel, groups)
        self.head = nn.Conv1d(widths[0], channels, 1)

    def forward(self, x: Tensor, step: Tensor, condition: Tensor) -> Tensor:
        """Returns what is said of the steps.

        Raises:
            UserError: If their number cannot be halved as often as it is.
        """
        if x.shape[1] % self.factor:
            raise UserError(f"there are {x.shape[1]} steps; a multiple of {self.factor} is needed")
        told = torch.cat([self.step(step_embedding(step, self.step_dim).to(x)), condition], dim=-1)
        x, kept = x.transpose(1, 2), []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                x = block(x, told)
            kept.append(x)
            if level < len(self.shrink):
                x = self.shrink[level](x)
        for block in self.middle:
            x = block(x, told)
        for blocks, grow in zip(self.up, self.grow, strict=True):
            x = torch.cat([x, kept.pop()], dim=1)
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]
                x = block(x, told)
            x = grow(x)
        return self.head(self.last(x)).transpose(1, 2)


class ResidualConvolutions(nn.Module):
    """Two convolutions with a shortcut; between them the condition modulates each channel.

    Args:
        before: Channels that come in.
        after: Channels that go out.
        told: Numbers of the condition.
        kernel: Steps that a convolution reads.
        groups: Groups of the norms.
        scale: Whether the condition chooses a gain, too.
    """

    def __init__(
        self, before: int, after: int, told: int, *, kernel: int, groups: int, scale: bool
    ) -> None:
        super().__init__()
        self.first = convolution(before, after, kernel, groups)
        self.modulation = nn.Sequential(nn.Mish(), nn.Linear(told, after * (2 if scale else 1)))
        self.second = convolution(after, after, kernel, groups)
        self.shortcut = nn.Conv1d(before, after, 1) if before != after else nn.Identity()
        self.scale = scale

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """Adds the shortcut, (B, channels, N)."""
        out, chosen = self.first(x), self.modulation(told)[..., None]
        if self.scale:
            gain, bias = chosen.chunk(2, dim=1)
            out = gain * out + bias
        else:
            out = out + chosen
        return self.second(out) + self.shortcut(x)


def convolution(before: int, after: int, kernel: int, groups: int) -> nn.Sequential:
    """Returns a convolution that keeps the number of steps, a group norm and Mish."""
    return nn.Sequential(
        nn.Conv1d(before, after, kernel, padding=kernel // 2),
        nn.GroupNorm(groups, after),
        nn.Mish(),
    )
