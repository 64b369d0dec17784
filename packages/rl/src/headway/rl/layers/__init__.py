"""Parts of decision models: observations, actions, randomness."""

from headway.rl.layers.actions import (
    ActionHead,
    BinsAndOffsets,
    ContinuousActions,
    DenoisingActions,
    DiscreteActions,
    MultiDiscreteActions,
    ScaledActions,
    actions_for,
)
from headway.rl.layers.noising import DiffusionNoising, FlowNoising, Noising
from headway.rl.layers.observations import (
    CameraObservations,
    ChoiceObservations,
    DictObservations,
    ImageObservations,
    Moments,
    ObservationEncoder,
    PictureTokens,
    VectorObservations,
    encoder_for,
)
from headway.rl.layers.path_objectives import NextToken, PathObjective, UniformMasking
from headway.rl.layers.streams import Streams

__all__ = [
    "ActionHead",
    "BinsAndOffsets",
    "CameraObservations",
    "ChoiceObservations",
    "ContinuousActions",
    "DenoisingActions",
    "DictObservations",
    "DiffusionNoising",
    "DiscreteActions",
    "FlowNoising",
    "ImageObservations",
    "Moments",
    "MultiDiscreteActions",
    "NextToken",
    "Noising",
    "ObservationEncoder",
    "PathObjective",
    "PictureTokens",
    "ScaledActions",
    "Streams",
    "UniformMasking",
    "VectorObservations",
    "actions_for",
    "encoder_for",
]
