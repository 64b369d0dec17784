"""Decoding: what turns the logits of a model into sequences."""

from headway.core.generation.beams import Beams, beam_search
from headway.core.generation.generate import CausalModel, Generated, generate
from headway.core.generation.guidance import Guided
from headway.core.generation.redrawing import Redrawn, redraw
from headway.core.generation.sampling import Processor, Sampling, Temperature, TopK, TopP
from headway.core.generation.written import Written

__all__ = [
    "Beams",
    "CausalModel",
    "Generated",
    "Guided",
    "Processor",
    "Redrawn",
    "Sampling",
    "Temperature",
    "TopK",
    "TopP",
    "Written",
    "beam_search",
    "generate",
    "redraw",
]
