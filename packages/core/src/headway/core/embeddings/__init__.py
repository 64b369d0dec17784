"""Embeddings: how raw data becomes tokens."""

from headway.core.embeddings.overlapping import OverlappingPatchEmbedding
from headway.core.embeddings.patch import PatchEmbedding

__all__ = ["OverlappingPatchEmbedding", "PatchEmbedding"]
