"""Speech models: encoders over features or waveforms, and recognisers."""

from headway.speech.audio_classifier import AudioClassifier
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.models.aligners import Aligner, MixtureAligner, UniformAligner
from headway.speech.models.audio_spectrogram import AST
from headway.speech.models.conformer import Conformer
from headway.speech.models.ctc import CTC, CTCOutput
from headway.speech.models.fast_speech import FastSpeech
from headway.speech.models.pretrained import pretrained
from headway.speech.models.variances import Variances
from headway.speech.recogniser import Recogniser
from headway.speech.synthesiser import Synthesiser

__all__ = [
    "AST",
    "CTC",
    "Aligner",
    "AudioClassifier",
    "CTCOutput",
    "Conformer",
    "Encoded",
    "FastSpeech",
    "MixtureAligner",
    "Recogniser",
    "SpeechEncoder",
    "Synthesiser",
    "UniformAligner",
    "Variances",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return ["AST", "CTC", "Conformer", "FastSpeech"]
