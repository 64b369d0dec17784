"""Token mixers: how tokens exchange information. ``(dim, heads, *, ...)``; one call signature for all."""

from headway.core.mixers.base import TokenMixer
from headway.core.mixers.convolutional.convolution import ConvolutionMixer
from headway.core.mixers.convolutional.gated_convolution import GatedConvolutionMixer
from headway.core.mixers.convolutional.interleaved_convolution import InterleavedConvolution
from headway.core.mixers.convolutional.pooling import PoolingMixer
from headway.core.mixers.kernelized.decays import FixedDecay, LearnedDecay
from headway.core.mixers.kernelized.factorized_attention import FactorizedAttention
from headway.core.mixers.kernelized.feature_maps import (
    EluPlusOne,
    FeatureMap,
    GeneralizedRandomFeatures,
    RandomFeatures,
    ReLUFeatures,
    ScaledFeatures,
)
from headway.core.mixers.kernelized.gated_linear import GatedLinearAttention
from headway.core.mixers.kernelized.linear_attention import LinearAttention
from headway.core.mixers.kernelized.normalized_linear import NormalizedLinearCrossAttention
from headway.core.mixers.kernelized.nystrom_attention import NystromAttention
from headway.core.mixers.recurrent.diagonal_state_space import DiagonalStateSpace
from headway.core.mixers.recurrent.legendre_memory import LegendreMemory
from headway.core.mixers.recurrent.selective_scan import SelectiveScan
from headway.core.mixers.softmax.additive_attention import AdditiveAttention
from headway.core.mixers.softmax.class_attention import ClassAttention
from headway.core.mixers.softmax.conv_attention import ConvAttention
from headway.core.mixers.softmax.cross_attention import CrossAttention
from headway.core.mixers.softmax.gated_bias_attention import GatedBiasAttention
from headway.core.mixers.softmax.graph_attention import GraphAttention
from headway.core.mixers.softmax.positioned import PositionedCrossAttention, PositionedSelfAttention
from headway.core.mixers.softmax.score_residual_attention import ScoreResidualAttention
from headway.core.mixers.softmax.self_attention import SelfAttention
from headway.core.mixers.softmax.talking_heads import TalkingHeadsAttention
from headway.core.mixers.sparse.cosine_window_attention import CosineWindowAttention
from headway.core.mixers.sparse.deformable_attention import DeformableAttention
from headway.core.mixers.sparse.mask_unit_attention import MaskUnitAttention
from headway.core.mixers.sparse.neighbourhood_attention import NeighbourhoodAttention
from headway.core.mixers.sparse.probsparse import ProbSparseAttention, ProbSparseCrossAttention
from headway.core.mixers.sparse.window_attention import WindowAttention
from headway.core.mixers.spectral.auto_correlation import AutoCorrelation, AutoCorrelationCross
from headway.core.mixers.spectral.fourier import FourierMixer

__all__ = [
    "AdditiveAttention",
    "AutoCorrelation",
    "AutoCorrelationCross",
    "ClassAttention",
    "ConvAttention",
    "ConvolutionMixer",
    "CosineWindowAttention",
    "CrossAttention",
    "DeformableAttention",
    "DiagonalStateSpace",
    "EluPlusOne",
    "FactorizedAttention",
    "FeatureMap",
    "FixedDecay",
    "FourierMixer",
    "GatedBiasAttention",
    "GatedConvolutionMixer",
    "GatedLinearAttention",
    "GeneralizedRandomFeatures",
    "GraphAttention",
    "InterleavedConvolution",
    "LearnedDecay",
    "LegendreMemory",
    "LinearAttention",
    "MaskUnitAttention",
    "NeighbourhoodAttention",
    "NormalizedLinearCrossAttention",
    "NystromAttention",
    "PoolingMixer",
    "PositionedCrossAttention",
    "PositionedSelfAttention",
    "ProbSparseAttention",
    "ProbSparseCrossAttention",
    "RandomFeatures",
    "ReLUFeatures",
    "ScaledFeatures",
    "ScoreResidualAttention",
    "SelectiveScan",
    "SelfAttention",
    "TalkingHeadsAttention",
    "TokenMixer",
    "WindowAttention",
]
