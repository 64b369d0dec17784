"""Reading checkpoints of Hugging Face transformers of any family that says how they look."""

from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table
from headway.vision.models.families import HuggingFace
from headway.vision.weights.hugging_face import (
    ACTIVATIONS,
    UNUSED,
    changed_files,
    count_classes,
    name_classes,
    set_pictures,
)
from headway.vision.weights.hugging_face_processor import PROCESSORS, image_cfg


class HuggingFaceFamily:
    """Recognises ``model_type`` in config.json.

    Args:
        name: Of the family.
        files: How transformers saves it.
    """

    may_miss = ("head.classifier.",)

    def __init__(self, name: str, files: HuggingFace) -> None:
        self.name = f"Hugging Face {name}"
        self.published = files
        self.architectures = files.architectures
        self.defaults, self.harmless = files.defaults, (*UNUSED, *files.harmless)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the family."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == self.published.model_type

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config, kind = checkpoint.config or {}, self.published.model_type
        activation = config.get("hidden_act", "gelu")
        if activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise UserError(f"the activation {activation!r} is not known; known: {known}")
        model = self.published.build(
            config,
            num_classes=count_classes(checkpoint),
            activation=ACTIVATIONS[activation],
            drop_path=overrides.pop("drop_path", 0.0),
        )
        size = config.get("image_size", 224)
        cfg = image_cfg(checkpoint.folder, kind, model_size=size, published=self._processor)
        set_pictures(model, cfg, architecture=kind)
        name_classes(model, config)
        return model

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns the JSON files of a changed model."""
        return changed_files(checkpoint, model, published=self._processor)

    @property
    def _processor(self) -> dict[str, Any] | None:
        name = self.published.processor
        return PROCESSORS[name] if name is not None else None

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        table = self.published.table
        return table if isinstance(table, Table) else table(model)
