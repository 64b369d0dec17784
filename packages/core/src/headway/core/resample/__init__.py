"""Resamplers: what changes the number of tokens."""

from headway.core.resample.patch_merging import PatchMerging
from headway.core.resample.token_merging import TokenMerging, unmerge

__all__ = ["PatchMerging", "TokenMerging", "unmerge"]
