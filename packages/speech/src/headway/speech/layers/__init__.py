"""What only speech needs: stems that subsample in time, parts of recognisers, alignments, pitch."""

from headway.speech.layers.convolutional_mlp import ConvolutionalMLP
from headway.speech.layers.convolutional_position import ConvolutionalPosition
from headway.speech.layers.ctc_compression import CTCCompression
from headway.speech.layers.gated_stem import GatedStem
from headway.speech.layers.integrate_and_fire import Fired, IntegrateAndFire, integrate_and_fire
from headway.speech.layers.inter_ctc import InterCTC
from headway.speech.layers.joint import JointNetwork
from headway.speech.layers.postnet import Postnet
from headway.speech.layers.predictors import Predictor, RecurrentPredictor, StatelessPredictor
from headway.speech.layers.projected import ProjectedFeatures
from headway.speech.layers.self_distillation import Prototypes, SelfDistillation
from headway.speech.layers.stem import SpeechStem
from headway.speech.layers.striding import StridingSubsampling
from headway.speech.layers.subsampling import ConvolutionSubsampling
from headway.speech.layers.waveform import WaveformStem
from headway.speech.layers.waves import ReceptiveFields, WaveGenerator

__all__ = [
    "CTCCompression",
    "ConvolutionSubsampling",
    "ConvolutionalMLP",
    "ConvolutionalPosition",
    "Fired",
    "GatedStem",
    "IntegrateAndFire",
    "InterCTC",
    "JointNetwork",
    "Postnet",
    "Predictor",
    "ProjectedFeatures",
    "Prototypes",
    "ReceptiveFields",
    "RecurrentPredictor",
    "SelfDistillation",
    "SpeechStem",
    "StatelessPredictor",
    "StridingSubsampling",
    "WaveGenerator",
    "WaveformStem",
    "integrate_and_fire",
]
