"""Resamplers: what changes the number of tokens."""

from headway.core.resample.base import Resampler
from headway.core.resample.distilling import Distilling
from headway.core.resample.matching import Groups, Matching, MostSimilar, Neighbours
from headway.core.resample.overlapping_merging import OverlappingPatchMerging
from headway.core.resample.patch_merging import PatchMerging
from headway.core.resample.token_merging import TokenMerging, unmerge

__all__ = [
    "Distilling",
    "Groups",
    "Matching",
    "MostSimilar",
    "Neighbours",
    "OverlappingPatchMerging",
    "PatchMerging",
    "Resampler",
    "TokenMerging",
    "unmerge",
]
