"""Parts of decision models: observations, actions, randomness."""

from headway.rl.layers.actions import (
    ActionHead,
    AutoregressiveValues,
    BinsAndOffsets,
    BodyActions,
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
from headway.rl.layers.tokens import ChoiceTokens, QuantileTokens, Tokens, UniformTokens

__all__ = [
    "ActionHead",
    "AutoregressiveValues",
    "BinsAndOffsets",
    "BodyActions",
    "BodyObservations",
    "CameraObservations",
    "ChoiceObservations",
    "ChoiceTokens",
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
    "QuantileTokens",
    "ScaledActions",
    "SceneObservations",
    "Streams",
    "Tokens",
    "UniformMasking",
    "UniformTokens",
    "VectorObservations",
    "actions_for",
    "encoder_for",
]
