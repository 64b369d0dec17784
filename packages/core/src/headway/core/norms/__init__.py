"""Norms: ``(dim, *, ...)``, acting on the last axis, so padding never reaches another token."""

from headway.core.norms.adaptive import AdaptiveLayerNorm
from headway.core.norms.layer_norm import LayerNorm
from headway.core.norms.masked_batch_norm import MaskedBatchNorm
from headway.core.norms.rms_norm import RMSNorm

__all__ = ["AdaptiveLayerNorm", "LayerNorm", "MaskedBatchNorm", "RMSNorm"]
