"""Blocks: a token mixer and a feed-forward inside a residual scheme. ``(dim, heads, *, ...)``."""

from headway.core.blocks.adapted import (
    AdaptedBlock,
    BottleneckAdapter,
    ConvolutionAdapter,
    PromptedBlock,
)
from headway.core.blocks.block import (
    Block,
    PostNormBlock,
    PreNormBlock,
    ResidualPostNormBlock,
    SandwichNormBlock,
)
from headway.core.blocks.class_attention import ClassAttentionBlock
from headway.core.blocks.conditioned import ConditionedBlock, ConditionedBranch
from headway.core.blocks.drop_path import DropPath
from headway.core.blocks.dynamic_depth import DynamicDepthBlock
from headway.core.blocks.layer_scale import LayerScale
from headway.core.blocks.macaron import HalfStep, MacaronBlock, PostNormMacaronBlock
from headway.core.blocks.parallel import ParallelBlock
from headway.core.blocks.residual import (
    PostNorm,
    PreNorm,
    Residual,
    ResidualPostNorm,
    SandwichNorm,
)
from headway.core.sublayer import Chain, Sublayer

__all__ = [
    "AdaptedBlock",
    "Block",
    "BottleneckAdapter",
    "Chain",
    "ClassAttentionBlock",
    "ConditionedBlock",
    "ConditionedBranch",
    "ConvolutionAdapter",
    "DropPath",
    "DynamicDepthBlock",
    "HalfStep",
    "LayerScale",
    "MacaronBlock",
    "ParallelBlock",
    "PostNorm",
    "PostNormBlock",
    "PostNormMacaronBlock",
    "PreNorm",
    "PreNormBlock",
    "PromptedBlock",
    "Residual",
    "ResidualPostNorm",
    "ResidualPostNormBlock",
    "SandwichNorm",
    "SandwichNormBlock",
    "Sublayer",
]
