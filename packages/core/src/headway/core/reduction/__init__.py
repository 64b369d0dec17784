"""Reduction: less work for any headway model, by putting steps around its parts."""

from headway.core.reduction.merging import (
    MergedFeedForward,
    MergedMixer,
    is_merged,
    merge_tokens,
    unmerge_model,
)
from headway.core.resample import MostSimilar, Neighbours

__all__ = [
    "MergedFeedForward",
    "MergedMixer",
    "MostSimilar",
    "Neighbours",
    "is_merged",
    "merge_tokens",
    "unmerge_model",
]
