"""The residual network whose pooling loses less."""

from torch import nn

from headway.core.backbones.resnet import NormFactory, ResNet


class ResNetD(ResNet):
    """A ``ResNet`` with three small convolutions in front, and shortcuts that average before they shrink.

    Arguments and shapes are those of ``ResNet``. Without bottlenecks the first block of each stage has a
    shortcut with a convolution, as PaddlePaddle's and RT-DETR's have it; parameters have timm's names.

    Source:
        He et al. 2018, https://arxiv.org/abs/1812.01187, section 4 (ResNet-D).
    """

    def first(self, channels: int, stem: int, norm: NormFactory) -> nn.Module:
        """Returns three convolutions with norms and rectifiers between them."""
        half = stem // 2
        return nn.Sequential(
            nn.Conv2d(channels, half, 3, 2, 1, bias=False),
            norm(half),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, 1, 1, bias=False),
            norm(half),
            nn.ReLU(),
            nn.Conv2d(half, stem, 3, 1, 1, bias=False),
        )

    def shortcut(
        self, channels: int, out: int, stride: int, norm: NormFactory, place: int
    ) -> nn.Module | None:
        """Averages, then convolves each pixel."""
        if stride == 1 and channels == out and (place or self.init_args["bottleneck"]):
            return None
        pool = nn.AvgPool2d(2, 2, ceil_mode=True) if stride == 2 else nn.Identity()
        return nn.Sequential(pool, nn.Conv2d(channels, out, 1, bias=False), norm(out))
