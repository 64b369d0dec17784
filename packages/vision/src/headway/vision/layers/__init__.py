"""What only vision needs."""

from headway.vision.layers.image_tokens import ImageTokens
from headway.vision.layers.residual_stem import ResidualStem
from headway.vision.layers.stage import Stage
from headway.vision.layers.stem import ConvolutionStem

__all__ = ["ConvolutionStem", "ImageTokens", "ResidualStem", "Stage"]
