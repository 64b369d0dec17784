"""HGNetV2 as a backbone of feature maps."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.backbones import FrozenBatchNorm
from headway.core.errors import UserError
from headway.core.module import Module

NormFactory = Callable[[int], nn.Module]


class AffineConv(Module):
    """Convolution, norm, and perhaps a rectifier and one learned scale and shift for all channels.

    Args:
        channels: Input channels.
        out: Output channels.
        kernel: Side of the kernel; the map is padded by its half, rounded down.
        stride: By how much the map shrinks.
        groups: Groups of channels.
        norm: Builds the norm, ``(out)``.
        activated: Whether there is a rectifier.
        affine: Whether scale and shift follow it.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        norm: NormFactory = FrozenBatchNorm,
        activated: bool = True,
        affine: bool = False,
    ) -> None:
        super().__init__()
        padding = (kernel - 1) // 2
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, groups=groups, bias=False)
        self.norm = norm(out)
        self.activation = nn.ReLU() if activated else nn.Identity()
        self.affine = Affine() if activated and affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Convolves, normalises and activates."""
        x = self.activation(self.norm(self.conv(x)))
        return x if self.affine is None else self.affine(x)


class Affine(Module):
    """One learned scale and one shift for all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Scales and shifts."""
        return self.scale * x + self.bias


class HGNetV2(Module):
    """Stages at strides 4, 8, 16 and 32 whose blocks join the outputs of all their convolutions.

    Args:
        stem: Channels within and behind the stem.
        middles: Channels of the convolutions of each stage.
        widths: Channels of the map of each stage.
        depths: Blocks of each stage.
        layers: Convolutions of a block of each stage, or of all.
        kernels: Side of their kernels.
        light: Whether those of a stage are a 1x1 convolution and one of each channel by itself.
        affine: Whether a learned scale and shift follow each rectifier.
        channels: Channels of a picture.
        norm: Builds a norm of maps, ``(dim)``; frozen batch norm for published weights, batch norm for
            training from scratch.
        out_indices: Which stages give maps.

    Shape:
        images: (B, channels, H, W). Output: a list of (B, C, H / stride, W / stride), rounded up.

    Raises:
        UserError: If the stages are not told of equally often.

    Source:
        PaddlePaddle's PP-HGNetV2, as Peng et al. 2024 (D-FINE), https://arxiv.org/abs/2410.13842, use it.
    """

    def __init__(
        self,
        *,
        stem: Sequence[int] = (16, 16),
        middles: Sequence[int] = (16, 32, 64, 128),
        widths: Sequence[int] = (64, 256, 512, 1024),
        depths: Sequence[int] = (1, 1, 2, 1),
        layers: Sequence[int] | int = 3,
        kernels: Sequence[int] = (3, 3, 5, 5),
        light: Sequence[bool] = (False, False, True, True),
        affine: bool = True,
        channels: int = 3,
        norm: NormFactory = FrozenBatchNorm,
        out_indices: Sequence[int] = (1, 2, 3),
    ) -> None:
        super().__init__()
        counts = [layers] * len(widths) if isinstance(layers, int) else list(layers)
        told = (middles, depths, counts, kernels, light)
        if len(stem) != 2 or not widths or any(len(one) != len(widths) for one in told):
            raise UserError(
                f"middles {list(middles)}, depths {list(depths)}, layers {counts}, kernels {list(kernels)} "
                f"and light {list(light)} need one per stage, as many as widths {list(widths)}, and stem two"
            )
        wrong = [index for index in out_indices if not 0 <= index < len(widths)]
        if wrong or not out_indices:
            raise UserError(f"out_indices names {wrong or 'no stage'} of {len(widths)} stages")
        self.widths, self.out_indices = tuple(widths), sorted(out_indices)
        within, behind = stem
        own: Any = {"norm": norm, "affine": affine}
        self.stem1 = AffineConv(channels, within, kernel=3, stride=2, **own)
        self.stem2a = AffineConv(within, within // 2, kernel=2, **own)
        self.stem2b = AffineConv(within // 2, within, kernel=2, **own)
        self.stem3 = AffineConv(2 * within, within, kernel=3, stride=2, **own)
        self.stem4 = AffineConv(within, behind, **own)
        stages, inner = [], behind
        for place, width in enumerate(widths):
            parts: Any = {"layers": counts[place], "kernel": kernels[place], "light": light[place]}
            stages.append(
                Stage(
                    inner,
                    middles[place],
                    width,
                    depth=depths[place],
                    smaller=place > 0,
                    **parts,
                    **own,
                )
            )
            inner = width
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of each map."""
        return [
            {"num_chs": self.widths[i], "reduction": 4 * 2**i, "module": f"stages.{i}"}
            for i in self.out_indices
        ]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the maps."""
        x = F.pad(self.stem1(images), (0, 1, 0, 1))
        branch = self.stem2b(F.pad(self.stem2a(x), (0, 1, 0, 1)))
        x = torch.cat([F.max_pool2d(x, 2, 1, ceil_mode=True), branch], dim=1)
        x = self.stem4(self.stem3(x))
        maps = []
        for place, stage in enumerate(self.stages[: self.out_indices[-1] + 1]):
            x = stage(x)
            if place in self.out_indices:
                maps.append(x)
        return maps


class Stage(nn.Module):
    """Blocks, and what makes the map smaller before them."""

    def __init__(
        self,
        channels: int,
        middle: int,
        out: int,
        *,
        depth: int,
        smaller: bool,
        layers: int,
        kernel: int,
        light: bool,
        **own: Any,
    ) -> None:
        super().__init__()
        self.downsample = (
            AffineConv(
                channels,
                channels,
                kernel=3,
                stride=2,
                groups=channels,
                activated=False,
                norm=own["norm"],
            )
            if smaller
            else nn.Identity()
        )
        parts: Any = {"layers": layers, "kernel": kernel, "light": light, **own}
        inputs = [channels] + [out] * (depth - 1)
        self.blocks = nn.Sequential(
            *(
                JoinedBlock(one, middle, out, added=place > 0, **parts)
                for place, one in enumerate(inputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Runs the blocks."""
        return self.blocks(self.downsample(x))


class JoinedBlock(nn.Module):
    """Convolutions in a row, whose outputs are joined; from the second block on, the input is added."""

    def __init__(
        self,
        channels: int,
        middle: int,
        out: int,
        *,
        layers: int,
        kernel: int,
        light: bool,
        added: bool,
        **own: Any,
    ) -> None:
        super().__init__()
        made: list[nn.Module] = []
        for place in range(layers):
            inner = middle if place else channels
            if light:
                made.append(
                    nn.Sequential(
                        AffineConv(inner, middle, activated=False, norm=own["norm"]),
                        AffineConv(middle, middle, kernel=kernel, groups=middle, **own),
                    )
                )
            else:
                made.append(AffineConv(inner, middle, kernel=kernel, **own))
        self.layers = nn.ModuleList(made)
        self.join = nn.Sequential(
            AffineConv(channels + layers * middle, out // 2, **own),
            AffineConv(out // 2, out, **own),
        )
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        """Convolves, joins and adds."""
        found = [x]
        for layer in self.layers:
            found.append(layer(found[-1]))
        joined = self.join(torch.cat(found, dim=1))
        return joined + x if self.added else joined
