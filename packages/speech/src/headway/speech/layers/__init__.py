"""What only speech needs: stems that turn features or waveforms into fewer tokens, parts of recognisers."""

from headway.speech.layers.integrate_and_fire import Fired, IntegrateAndFire, integrate_and_fire
from headway.speech.layers.inter_ctc import InterCTC
from headway.speech.layers.joint import JointNetwork
from headway.speech.layers.predictors import Predictor, RecurrentPredictor, StatelessPredictor
from headway.speech.layers.stem import SpeechStem
from headway.speech.layers.striding import StridingSubsampling
from headway.speech.layers.subsampling import ConvolutionSubsampling
from headway.speech.layers.waveform import WaveformStem

__all__ = [
    "ConvolutionSubsampling",
    "Fired",
    "IntegrateAndFire",
    "InterCTC",
    "JointNetwork",
    "Predictor",
    "RecurrentPredictor",
    "SpeechStem",
    "StatelessPredictor",
    "StridingSubsampling",
    "WaveformStem",
    "integrate_and_fire",
]
