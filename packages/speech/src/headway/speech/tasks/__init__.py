"""Tasks of the speech domain."""

from headway.speech.tasks.transcription import Transcription

__all__ = ["Transcription"]
