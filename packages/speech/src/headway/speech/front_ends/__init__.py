"""Front ends: what a recording goes through before a model."""

from headway.speech.front_ends.base import Features, FrontEnd
from headway.speech.front_ends.whisper_mel import WhisperMel

__all__ = ["Features", "FrontEnd", "WhisperMel"]
