"""What only vision needs."""

from headway.core.backbones import FrozenBatchNorm, ResNet, ResNetD
from headway.vision.layers.box_head import BoxHead
from headway.vision.layers.conditional_attention import (
    ConditionalCrossAttention,
    ConditionalSelfAttention,
)
from headway.vision.layers.conv_norm import ConvNorm
from headway.vision.layers.conv_pooling import ConvPooling
from headway.vision.layers.discrete_attention import DiscreteDeformableAttention
from headway.vision.layers.elan_encoder import ELANEncoder
from headway.vision.layers.fusing import fused
from headway.vision.layers.grouped_attention import GroupedSelfAttention
from headway.vision.layers.hgnet import HGNetV2
from headway.vision.layers.hybrid_encoder import HybridEncoder
from headway.vision.layers.image_tokens import ImageTokens
from headway.vision.layers.map_projections import MapProjections
from headway.vision.layers.query_pooling import QueryPoolingBlock
from headway.vision.layers.rep_block import CSPBlock, RepBlock
from headway.vision.layers.residual_stem import ResidualStem
from headway.vision.layers.scaled_projections import C2fBlock, MapNorm, ScaledProjections
from headway.vision.layers.stage import Stage
from headway.vision.layers.stem import ConvolutionStem
from headway.vision.layers.tiled_attention import TiledAttention, TiledTokens
from headway.vision.layers.timm_features import TimmFeatures
from headway.vision.layers.windowed_position import WindowedPosition

__all__ = [
    "BoxHead",
    "C2fBlock",
    "CSPBlock",
    "ConditionalCrossAttention",
    "ConditionalSelfAttention",
    "ConvNorm",
    "ConvPooling",
    "ConvolutionStem",
    "DiscreteDeformableAttention",
    "ELANEncoder",
    "FrozenBatchNorm",
    "GroupedSelfAttention",
    "HGNetV2",
    "HybridEncoder",
    "ImageTokens",
    "MapNorm",
    "MapProjections",
    "QueryPoolingBlock",
    "RepBlock",
    "ResNet",
    "ResNetD",
    "ResidualStem",
    "ScaledProjections",
    "Stage",
    "TiledAttention",
    "TiledTokens",
    "TimmFeatures",
    "WindowedPosition",
    "fused",
]
