"""Norms: ``(dim, *, ...)``, acting on the last axis, so padding never reaches another token (but one)."""

from headway.core.norms.adaptive import AdaptiveLayerNorm
from headway.core.norms.global_layer_norm import GlobalLayerNorm
from headway.core.norms.layer_norm import LayerNorm
from headway.core.norms.masked_batch_norm import MaskedBatchNorm
from headway.core.norms.rms_norm import RMSNorm

__all__ = ["AdaptiveLayerNorm", "GlobalLayerNorm", "LayerNorm", "MaskedBatchNorm", "RMSNorm"]
