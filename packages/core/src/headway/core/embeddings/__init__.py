"""Embeddings: how raw data becomes tokens."""

from headway.core.embeddings.numerical import NumericalEncoding
from headway.core.embeddings.overlapping import OverlappingPatchEmbedding
from headway.core.embeddings.patch import PatchEmbedding
from headway.core.embeddings.step import step_embedding

__all__ = ["NumericalEncoding", "OverlappingPatchEmbedding", "PatchEmbedding", "step_embedding"]
