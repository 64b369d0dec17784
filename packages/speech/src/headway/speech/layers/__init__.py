"""What only speech needs: stems that subsample in time, alignments of text and speech, pitch."""

from headway.speech.layers.convolutional_mlp import ConvolutionalMLP
from headway.speech.layers.stem import SpeechStem
from headway.speech.layers.subsampling import ConvolutionSubsampling
from headway.speech.layers.waveform import WaveformStem

__all__ = ["ConvolutionSubsampling", "ConvolutionalMLP", "SpeechStem", "WaveformStem"]
