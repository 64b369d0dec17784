"""Whisper: an encoder hears 30 seconds, a decoder writes what was said."""

from headway.speech.models.whisper.model import Whisper
from headway.speech.models.whisper.search import WhisperSearch

__all__ = ["Whisper", "WhisperSearch"]
