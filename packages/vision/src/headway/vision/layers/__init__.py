"""What only vision needs."""

from headway.core.backbones import FrozenBatchNorm, ResNet
from headway.vision.layers.box_head import BoxHead
from headway.vision.layers.image_tokens import ImageTokens
from headway.vision.layers.residual_stem import ResidualStem
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
