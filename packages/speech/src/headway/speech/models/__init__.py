"""Speech models: encoders over features or waveforms, and recognisers."""

from headway.speech.audio_classifier import AudioClassifier
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.models.audio_spectrogram import AST
from headway.speech.models.conformer import Conformer
from headway.speech.models.ctc import CTC, CTCOutput
from headway.speech.models.pretrained import pretrained
from headway.speech.recogniser import Recogniser

__all__ = [
    "AST",
    "CTC",
    "AudioClassifier",
    "CTCOutput",
    "Conformer",
    "Encoded",
    "Recogniser",
    "SpeechEncoder",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return ["AST", "CTC", "Conformer"]
