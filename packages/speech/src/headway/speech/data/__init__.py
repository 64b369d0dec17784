"""Data modules of recordings with texts, and what happens to both on their way to a model."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily

if TYPE_CHECKING:
    from headway.speech.data.audio_data import AudioData
    from headway.speech.data.audio_folder import AudioFolder
    from headway.speech.data.digit_strings import DigitStrings
    from headway.speech.data.perturbations import (
        FilterPerturbation,
        GainPerturbation,
        NoisePerturbation,
        Perturbation,
        SpeedPerturbation,
    )
    from headway.speech.data.speech_manifest import SpeechManifest
    from headway.speech.data.spoken_digits import SpokenDigits

__all__ = [
    "AudioData",
    "AudioFolder",
    "DigitStrings",
    "FilterPerturbation",
    "GainPerturbation",
    "NoisePerturbation",
    "Perturbation",
    "SpeechManifest",
    "SpeedPerturbation",
    "SpokenDigits",
]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "AudioData": "audio_data",
        "AudioFolder": "audio_folder",
        "DigitStrings": "digit_strings",
        "FilterPerturbation": "perturbations",
        "GainPerturbation": "perturbations",
        "NoisePerturbation": "perturbations",
        "Perturbation": "perturbations",
        "SpeechManifest": "speech_manifest",
        "SpeedPerturbation": "perturbations",
        "SpokenDigits": "spoken_digits",
    },
)
