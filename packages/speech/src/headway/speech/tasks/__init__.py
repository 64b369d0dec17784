"""Tasks of the speech domain."""

from headway.speech.tasks.audio_classification import AudioClassification
from headway.speech.tasks.transcription import Transcription

__all__ = ["AudioClassification", "Transcription"]
