"""Explanations: which tokens an answer rests on, for any headway model."""

from headway.core.explain.relevance import gradient_relevance
from headway.core.explain.rollout import attention_rollout
from headway.core.explain.tokens import token_relevance

__all__ = ["attention_rollout", "gradient_relevance", "token_relevance"]
