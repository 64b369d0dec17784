"""Lightning modules: recognition, synthesis, classes of recordings, and learning from speech alone."""

from headway.speech.tasks.audio_classification import AudioClassification
from headway.speech.tasks.audio_pretraining import AudioPretraining
from headway.speech.tasks.pretraining import SpeechPretraining
from headway.speech.tasks.sound_generation import SoundGeneration
from headway.speech.tasks.synthesis import Synthesis
from headway.speech.tasks.transcription import Transcription

__all__ = [
    "AudioClassification",
    "AudioPretraining",
    "SoundGeneration",
    "SpeechPretraining",
    "Synthesis",
    "Transcription",
]
