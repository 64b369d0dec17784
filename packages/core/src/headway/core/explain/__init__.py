"""Explanations: which tokens an answer rests on, for any model whose mixers report their weights."""

from headway.core.explain.relevance import gradient_relevance
from headway.core.explain.rollout import attention_rollout

__all__ = ["attention_rollout", "gradient_relevance"]
