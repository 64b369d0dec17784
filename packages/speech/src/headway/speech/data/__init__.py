"""Data modules of recordings with texts, and what happens to both on their way to a model."""

from headway.speech.data.digit_strings import DigitStrings
from headway.speech.data.front_end import FrontEnd
from headway.speech.data.spec_augment import SpecAugment
from headway.speech.data.speech_manifest import SpeechManifest
from headway.speech.data.tokenizer import Tokenizer

__all__ = ["DigitStrings", "FrontEnd", "SpecAugment", "SpeechManifest", "Tokenizer"]
