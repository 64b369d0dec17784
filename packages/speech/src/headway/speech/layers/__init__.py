"""What only speech needs: stems that turn features or waveforms into fewer tokens, parts of transducers."""

from headway.speech.layers.joint import JointNetwork
from headway.speech.layers.predictors import Predictor, RecurrentPredictor, StatelessPredictor
from headway.speech.layers.stem import SpeechStem
from headway.speech.layers.subsampling import ConvolutionSubsampling
from headway.speech.layers.waveform import WaveformStem

__all__ = [
    "ConvolutionSubsampling",
    "JointNetwork",
    "Predictor",
    "RecurrentPredictor",
    "SpeechStem",
    "StatelessPredictor",
    "WaveformStem",
]
