"""The residual network as a backbone of feature maps."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.backbones.frozen_batch_norm import FrozenBatchNorm
from headway.core.errors import UserError
from headway.core.module import Module

NormFactory = Callable[[int], nn.Module]


class ResNet(Module):
    """Residual stages at strides 4, 8, 16, ...; gives the map of each stage that is asked for.

    Parameters have the names that torchvision and timm give them.

    Args:
        depths: Residual blocks of each stage; (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) is 34 and 50.
        widths: Channels of the map of each stage.
        bottleneck: Whether a block is 1x1, 3x3, 1x1 convolutions with a quarter of the channels between
            (ResNet-50 and deeper), or two 3x3 ones.
        stem: Channels of the first convolution.
        channels: Channels of a picture.
        norm: Builds a norm of maps, ``(dim)``; frozen batch norm for published weights, batch norm for
            training from scratch.
        out_indices: Which stages give maps, negative from the end.
        frozen: How many of stem and stages, from the first on, never learn.

    Shape:
        images: (B, channels, H, W). Output: a list of (B, C, ceil(H / stride), ceil(W / stride)).

    Source:
        He et al. 2015, https://arxiv.org/abs/1512.03385, section 4.1; stride in the 3x3 convolution as in
        torchvision.
    """

    def __init__(
        self,
        *,
        depths: Sequence[int] = (3, 4, 6, 3),
        widths: Sequence[int] = (256, 512, 1024, 2048),
        bottleneck: bool = True,
        stem: int = 64,
        channels: int = 3,
        norm: NormFactory = FrozenBatchNorm,
        out_indices: Sequence[int] = (-1,),
        frozen: int = 0,
    ) -> None:
        super().__init__()
        if not depths or len(depths) != len(widths) or min(depths) < 1:
            raise UserError(f"depths {list(depths)} and widths {list(widths)} need one per stage")
        if bottleneck and any(width % 4 for width in widths):
            raise UserError(f"widths {list(widths)} must be multiples of 4 with bottlenecks")
        if not 0 <= frozen <= len(depths) + 1:
            raise UserError(f"frozen is {frozen}; there are a stem and {len(depths)} stages")
        wrong = [index for index in out_indices if not -len(depths) <= index < len(depths)]
        if wrong or not out_indices:
            raise UserError(f"out_indices names {wrong or 'no stage'} of {len(depths)} stages")
        self.channels, self.widths = channels, tuple(widths)
        self.out_indices = sorted(index % len(depths) for index in out_indices)
        self.conv1 = self.first(channels, stem, norm)
        self.bn1 = norm(stem)
        make = Bottleneck if bottleneck else BasicBlock
        inner = stem
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            blocks = []
            for place in range(depth):
                stride = 2 if stage and place == 0 else 1
                passed = self.shortcut(inner, width, stride, norm, place)
                blocks.append(make(inner, width, stride, norm, passed))
                inner = width
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.frozen = frozen
        parts = [self.conv1, self.bn1] if frozen else []
        for part in (*parts, *(self.stage(place) for place in range(frozen - 1))):
            part.requires_grad_(False)

    def first(self, channels: int, stem: int, norm: NormFactory) -> nn.Module:
        """Returns the first convolution, which a norm and a rectifier follow."""
        return nn.Conv2d(channels, stem, 7, 2, 3, bias=False)

    def shortcut(
        self, channels: int, out: int, stride: int, norm: NormFactory, place: int
    ) -> nn.Module | None:
        """Returns what makes the shapes of both branches of a block equal, or None where they are."""
        if stride == 1 and channels == out:
            return None
        return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), norm(out))

    def stage(self, place: int) -> nn.Module:
        """Returns a stage, counted from 0."""
        return self.get_submodule(f"layer{place + 1}")

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """Channels, reduction and module name of each map."""
        return [
            {"num_chs": self.widths[i], "reduction": 4 * 2**i, "module": f"layer{i + 1}"}
            for i in self.out_indices
        ]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Returns the maps."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        maps = []
        for place in range(self.out_indices[-1] + 1):
            x = self.stage(place)(x)
            if place in self.out_indices:
                maps.append(x)
        return maps


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut.

    Args:
        channels: Input channels.
        out: Output channels.
        stride: By how much the map shrinks.
        norm: Builds the norms.
        shortcut: What the input goes through on its way around; nothing if None.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        stride: int,
        norm: NormFactory,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = norm(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = norm(out)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Adds the shortcut."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + (self.downsample(x) if self.downsample is not None else x))


class Bottleneck(nn.Module):
    """A 3x3 convolution of a quarter of the channels between two 1x1 ones, with a shortcut.

    Args:
        channels: Input channels.
        out: Output channels.
        stride: By how much the map shrinks.
        norm: Builds the norms.
        shortcut: What the input goes through on its way around; nothing if None.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        stride: int,
        norm: NormFactory,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        inner = out // 4
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = norm(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = norm(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = norm(out)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Adds the shortcut."""
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (self.downsample(x) if self.downsample is not None else x))
