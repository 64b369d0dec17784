"""Embeddings: how raw data becomes tokens."""

from headway.core.embeddings.patch import PatchEmbedding

__all__ = ["PatchEmbedding"]
