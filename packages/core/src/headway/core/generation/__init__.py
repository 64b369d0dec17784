"""Decoding: what turns the logits of a model into sequences."""

from headway.core.generation.generate import CausalModel, Generated, generate
from headway.core.generation.sampling import Sampling

__all__ = ["CausalModel", "Generated", "Sampling", "generate"]
