"""Weights: a model from a folder, a file or a hub, and back; nothing that is read is ever executed."""

from headway.core.weights.adapter import Adapter
from headway.core.weights.checkpoint import Checkpoint, open_checkpoint
from headway.core.weights.config import build, describe
from headway.core.weights.hub import push_to_hub
from headway.core.weights.load import LoadReport, load_weights
from headway.core.weights.preprocessing import read_preprocessing
from headway.core.weights.pretrained import from_pretrained, save_pretrained
from headway.core.weights.published import save_published

__all__ = [
    "Adapter",
    "Checkpoint",
    "LoadReport",
    "build",
    "describe",
    "from_pretrained",
    "load_weights",
    "open_checkpoint",
    "push_to_hub",
    "read_preprocessing",
    "save_pretrained",
    "save_published",
]
