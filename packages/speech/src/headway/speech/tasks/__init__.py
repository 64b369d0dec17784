"""Lightning modules: recognition, synthesis and learning from speech alone."""

from headway.speech.tasks.pretraining import SpeechPretraining
from headway.speech.tasks.synthesis import Synthesis
from headway.speech.tasks.transcription import Transcription

__all__ = ["SpeechPretraining", "Synthesis", "Transcription"]
