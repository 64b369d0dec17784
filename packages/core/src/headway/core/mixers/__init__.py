"""Token mixers: how tokens exchange information. ``(dim, heads, *, ...)``; one call signature for all."""

from headway.core.mixers.additive_attention import AdditiveAttention
from headway.core.mixers.auto_correlation import AutoCorrelation, AutoCorrelationCross
from headway.core.mixers.base import TokenMixer
from headway.core.mixers.class_attention import ClassAttention
from headway.core.mixers.convolution import ConvolutionMixer
from headway.core.mixers.cross_attention import CrossAttention
from headway.core.mixers.decays import FixedDecay, LearnedDecay
from headway.core.mixers.deformable_attention import DeformableAttention
from headway.core.mixers.factorized_attention import FactorizedAttention
from headway.core.mixers.feature_maps import (
    EluPlusOne,
    FeatureMap,
    RandomFeatures,
    ReLUFeatures,
)
from headway.core.mixers.fourier import FourierMixer
from headway.core.mixers.gated_convolution import GatedConvolutionMixer
from headway.core.mixers.legendre_memory import LegendreMemory
from headway.core.mixers.linear_attention import LinearAttention
from headway.core.mixers.neighbourhood_attention import NeighbourhoodAttention
from headway.core.mixers.normalized_linear import NormalizedLinearCrossAttention
from headway.core.mixers.pooling import PoolingMixer
from headway.core.mixers.positioned import PositionedCrossAttention, PositionedSelfAttention
from headway.core.mixers.probsparse import ProbSparseAttention, ProbSparseCrossAttention
from headway.core.mixers.score_residual_attention import ScoreResidualAttention
from headway.core.mixers.selective_scan import SelectiveScan
from headway.core.mixers.self_attention import SelfAttention
from headway.core.mixers.talking_heads import TalkingHeadsAttention
from headway.core.mixers.window_attention import WindowAttention

__all__ = [
    "AdditiveAttention",
    "AutoCorrelation",
    "AutoCorrelationCross",
    "ClassAttention",
    "ConvolutionMixer",
    "CrossAttention",
    "DeformableAttention",
    "EluPlusOne",
    "FactorizedAttention",
    "FeatureMap",
    "FixedDecay",
    "FourierMixer",
    "GatedConvolutionMixer",
    "LearnedDecay",
    "LegendreMemory",
    "LinearAttention",
    "NeighbourhoodAttention",
    "NormalizedLinearCrossAttention",
    "PoolingMixer",
    "PositionedCrossAttention",
    "PositionedSelfAttention",
    "ProbSparseAttention",
    "ProbSparseCrossAttention",
    "RandomFeatures",
    "ReLUFeatures",
    "ScoreResidualAttention",
    "SelectiveScan",
    "SelfAttention",
    "TalkingHeadsAttention",
    "TokenMixer",
    "WindowAttention",
]
