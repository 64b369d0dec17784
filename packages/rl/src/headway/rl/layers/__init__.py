"""Parts of decision models: observations, actions, randomness."""

from headway.rl.layers.actions import (
    ActionHead,
    BinsAndOffsets,
    BodyActions,
    CodesAndOffsets,
    ContinuousActions,
    DenoisingActions,
    DiscreteActions,
    MultiDiscreteActions,
    PointingActions,
    ScaledActions,
    actions_for,
)
from headway.rl.layers.noising import DiffusionNoising, FlowNoising, Noising
from headway.rl.layers.observations import (
    BodyObservations,
    CameraObservations,
    ChoiceObservations,
    DictObservations,
    ImageObservations,
    Moments,
    ObservationEncoder,
    PictureTokens,
    SceneObservations,
    VectorObservations,
    encoder_for,
)
from headway.rl.layers.path_objectives import NextToken, PathObjective, UniformMasking
from headway.rl.layers.streams import Streams

__all__ = [
    "ActionHead",
    "BinsAndOffsets",
    "BodyActions",
    "BodyObservations",
    "CameraObservations",
    "ChoiceObservations",
    "CodesAndOffsets",
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
    "PointingActions",
    "ScaledActions",
    "SceneObservations",
    "Streams",
    "UniformMasking",
    "VectorObservations",
    "actions_for",
    "encoder_for",
]
