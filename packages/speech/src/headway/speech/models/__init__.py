"""Speech models: encoders over features or waveforms, and recognisers."""

from headway.speech.audio_classifier import AudioClassifier
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.models.aligners import Aligner, MixtureAligner, UniformAligner
from headway.speech.models.asit import ASiT
from headway.speech.models.audio_spectrogram import AST
from headway.speech.models.conformer import Conformer
from headway.speech.models.conformer_voice import ConformerVoice
from headway.speech.models.ctc import CTC, CTCOutput
from headway.speech.models.ctc_attention import CTCAttention
from headway.speech.models.da_transformer import DATransformer
from headway.speech.models.daspeech import DASpeech
from headway.speech.models.ditar import DiTAR
from headway.speech.models.fast_speech import FastSpeech
from headway.speech.models.hifi_gan import HiFiGAN
from headway.speech.models.hifi_sr import HiFiSR
from headway.speech.models.moonshine import Moonshine
from headway.speech.models.paraformer import Paraformer, ParallelDecoder
from headway.speech.models.pretrained import (
    pretrained,
    pretrained_classifier,
    pretrained_encoder,
)
from headway.speech.models.small_e import SmallE
from headway.speech.models.speech_classifier import SpeechClassifier
from headway.speech.models.speechformer import Speechformer
from headway.speech.models.tera import TERA
from headway.speech.models.transducer import Transducer
from headway.speech.models.variances import Variances
from headway.speech.models.wav2vec2 import Wav2Vec2
from headway.speech.models.whisper import Whisper, WhisperSearch
from headway.speech.recogniser import Recogniser
from headway.speech.synthesiser import Synthesiser

__all__ = [
    "AST",
    "CTC",
    "TERA",
    "ASiT",
    "Aligner",
    "AudioClassifier",
    "CTCAttention",
    "CTCOutput",
    "Conformer",
    "ConformerVoice",
    "DASpeech",
    "DATransformer",
    "DiTAR",
    "Encoded",
    "FastSpeech",
    "HiFiGAN",
    "HiFiSR",
    "MixtureAligner",
    "Moonshine",
    "Paraformer",
    "ParallelDecoder",
    "Recogniser",
    "SmallE",
    "SpeechClassifier",
    "SpeechEncoder",
    "Speechformer",
    "Synthesiser",
    "Transducer",
    "UniformAligner",
    "Variances",
    "Wav2Vec2",
    "Whisper",
    "WhisperSearch",
    "list_models",
    "pretrained",
    "pretrained_classifier",
    "pretrained_encoder",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return [
        "AST",
        "ASiT",
        "CTC",
        "CTCAttention",
        "Conformer",
        "DASpeech",
        "DATransformer",
        "ConformerVoice",
        "DiTAR",
        "FastSpeech",
        "Moonshine",
        "HiFiGAN",
        "HiFiSR",
        "Paraformer",
        "SmallE",
        "SpeechClassifier",
        "Speechformer",
        "TERA",
        "Transducer",
        "Wav2Vec2",
        "Whisper",
    ]
