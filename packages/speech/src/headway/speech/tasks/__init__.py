"""Lightning modules: recognition and synthesis of speech."""

from headway.speech.tasks.audio_classification import AudioClassification
from headway.speech.tasks.synthesis import Synthesis
from headway.speech.tasks.transcription import Transcription

__all__ = ["AudioClassification", "Synthesis", "Transcription"]
