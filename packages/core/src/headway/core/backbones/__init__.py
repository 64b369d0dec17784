"""Networks that give maps of pictures, for models of any domain."""

from headway.core.backbones.frozen_batch_norm import FrozenBatchNorm
from headway.core.backbones.resnet import ResNet

__all__ = ["FrozenBatchNorm", "ResNet"]
