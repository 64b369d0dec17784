"""Resamplers: what changes the number of tokens."""

from headway.core.resample.adjacent_merging import AdjacentMerging
from headway.core.resample.base import Resampler
from headway.core.resample.distilling import Distilling
from headway.core.resample.matching import Adjacent, Groups, Matching, MostSimilar, Neighbours
from headway.core.resample.overlapping_merging import OverlappingPatchMerging
from headway.core.resample.patch_merging import PatchMerging, PostNormPatchMerging
from headway.core.resample.token_merging import TokenMerging, unmerge

__all__ = [
    "Adjacent",
    "AdjacentMerging",
    "Distilling",
    "Groups",
    "Matching",
    "MostSimilar",
    "Neighbours",
    "OverlappingPatchMerging",
    "PatchMerging",
    "PostNormPatchMerging",
    "Resampler",
    "TokenMerging",
    "unmerge",
]
