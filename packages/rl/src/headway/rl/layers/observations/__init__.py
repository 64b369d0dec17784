"""How observations enter a model: numbers, choices, pictures, several by name."""

from headway.rl.layers.observations.base import (
    Moments,
    ObservationEncoder,
    ObservationFactory,
    Observations,
    each,
    rows_of,
)
from headway.rl.layers.observations.body import BodyObservations
from headway.rl.layers.observations.cameras import CameraObservations
from headway.rl.layers.observations.choice import ChoiceObservations
from headway.rl.layers.observations.grid import GridObservations
from headway.rl.layers.observations.image import ImageObservations
from headway.rl.layers.observations.joined import JoinedObservations, joined
from headway.rl.layers.observations.keypoints import CameraKeypoints, KeypointObservations
from headway.rl.layers.observations.named import DictObservations, encoder_for
from headway.rl.layers.observations.picture_tokens import PictureTokens
from headway.rl.layers.observations.scene import SceneObservations
from headway.rl.layers.observations.tokenised import TokenObservations
from headway.rl.layers.observations.vector import Numbers, VectorObservations

__all__ = [
    "BodyObservations",
    "CameraKeypoints",
    "CameraObservations",
    "ChoiceObservations",
    "DictObservations",
    "GridObservations",
    "ImageObservations",
    "JoinedObservations",
    "KeypointObservations",
    "Moments",
    "Numbers",
    "ObservationEncoder",
    "ObservationFactory",
    "Observations",
    "PictureTokens",
    "SceneObservations",
    "TokenObservations",
    "VectorObservations",
    "each",
    "encoder_for",
    "joined",
    "rows_of",
]
