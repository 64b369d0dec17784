"""Networks that give maps of pictures, and places on them, for models of any domain."""

from headway.core.backbones.frozen_batch_norm import FrozenBatchNorm
from headway.core.backbones.resnet import ResNet
from headway.core.backbones.resnet_d import ResNetD
from headway.core.backbones.spatial_softmax import SpatialSoftmax

__all__ = ["FrozenBatchNorm", "ResNet", "ResNetD", "SpatialSoftmax"]
