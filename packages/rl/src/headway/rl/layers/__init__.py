"""Parts of decision models: observations, actions, randomness."""

from headway.rl.layers.actions import (
    ActionHead,
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
    ChoiceObservations,
    DictObservations,
    ImageObservations,
    Moments,
    ObservationEncoder,
    SceneObservations,
    VectorObservations,
    encoder_for,
)
from headway.rl.layers.streams import Streams

__all__ = [
    "ActionHead",
    "BinsAndOffsets",
    "BodyActions",
    "BodyObservations",
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
    "Noising",
    "ObservationEncoder",
    "PointingActions",
    "ScaledActions",
    "SceneObservations",
    "Streams",
    "VectorObservations",
    "actions_for",
    "encoder_for",
]
