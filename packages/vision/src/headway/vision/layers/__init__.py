"""What only vision needs."""

from headway.vision.layers.box_head import BoxHead
from headway.vision.layers.frozen_batch_norm import FrozenBatchNorm
from headway.vision.layers.image_tokens import ImageTokens
from headway.vision.layers.residual_stem import ResidualStem
from headway.vision.layers.resnet import ResNet
from headway.vision.layers.stage import Stage
from headway.vision.layers.stem import ConvolutionStem
from headway.vision.layers.timm_features import TimmFeatures

__all__ = [
    "BoxHead",
    "ConvolutionStem",
    "FrozenBatchNorm",
    "ImageTokens",
    "ResNet",
    "ResidualStem",
    "Stage",
    "TimmFeatures",
]
