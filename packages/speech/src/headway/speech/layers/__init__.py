"""What only speech needs: stems that turn features or waveforms into fewer tokens."""

from headway.speech.layers.stem import SpeechStem
from headway.speech.layers.subsampling import ConvolutionSubsampling
from headway.speech.layers.waveform import WaveformStem

__all__ = ["ConvolutionSubsampling", "SpeechStem", "WaveformStem"]
