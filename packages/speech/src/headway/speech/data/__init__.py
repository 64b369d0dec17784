"""Data modules of recordings with texts, and what happens to both on their way to a model."""

from typing import TYPE_CHECKING

from headway.core.lazy import lazily

if TYPE_CHECKING:
    from headway.speech.data.digit_strings import DigitStrings
    from headway.speech.data.speech_manifest import SpeechManifest

__all__ = ["DigitStrings", "SpeechManifest"]

# They need Lightning, which loads when one of them does.
__getattr__ = lazily(
    __name__,
    {
        "DigitStrings": "digit_strings",
        "SpeechManifest": "speech_manifest",
    },
)
