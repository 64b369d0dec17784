"""What a recording goes through before a model hears it: parts of the model, on its device."""

from headway.speech.front_ends.featured import featured
from headway.speech.front_ends.fixed import FixedFbank
from headway.speech.front_ends.front_end import Features, FrontEnd
from headway.speech.front_ends.group_masking import GroupMasking, Masking
from headway.speech.front_ends.kaldi import KaldiFbank
from headway.speech.front_ends.log_mel import LogMel
from headway.speech.front_ends.nemo import NeMoMel
from headway.speech.front_ends.spec_augment import SpecAugment
from headway.speech.front_ends.stacked import StackedFrames
from headway.speech.front_ends.stacked_fbank import StackedFbank
from headway.speech.front_ends.statistics import (
    read_statistics,
    with_statistics,
    write_statistics,
)
from headway.speech.front_ends.waveform import Waveform
from headway.speech.front_ends.whisper_mel import WhisperMel

__all__ = [
    "Features",
    "FixedFbank",
    "FrontEnd",
    "GroupMasking",
    "KaldiFbank",
    "LogMel",
    "Masking",
    "NeMoMel",
    "SpecAugment",
    "StackedFbank",
    "StackedFrames",
    "Waveform",
    "WhisperMel",
    "featured",
    "read_statistics",
    "with_statistics",
    "write_statistics",
]
