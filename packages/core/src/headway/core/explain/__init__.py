"""Explanations: which tokens an answer rests on and what the stream holds, for any headway model."""

from headway.core.explain.probing import Probe, linear_probes, residual_stream
from headway.core.explain.relevance import gradient_relevance
from headway.core.explain.rollout import attention_rollout
from headway.core.explain.tokens import token_relevance

__all__ = [
    "Probe",
    "attention_rollout",
    "gradient_relevance",
    "linear_probes",
    "residual_stream",
    "token_relevance",
]
