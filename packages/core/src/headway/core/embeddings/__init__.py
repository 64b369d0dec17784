"""Embeddings: how raw data becomes tokens."""

from headway.core.embeddings.overlapping import OverlappingPatchEmbedding
from headway.core.embeddings.patch import PatchEmbedding
from headway.core.embeddings.step import step_embedding

__all__ = ["OverlappingPatchEmbedding", "PatchEmbedding", "step_embedding"]
