"""Writing ``model/``: what is left of a run for those who only want to use the model."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from headway.core.files import atomic_write, staged_folder
from headway.core.finetune import is_adapted, save_adapter

Save = Callable[[nn.Module, Path], object]


def save_pretrained(model: nn.Module, folder: Path) -> None:
    """Writes config.json and model.safetensors through ``headway.core.weights``."""
    # By name: weights are a neighbour on the same floor, needed only here.
    importlib.import_module("headway.core.weights").save_pretrained(model, folder)


def export_model(
    model: nn.Module, folder: Path, preprocessing: dict[str, Any], *, save: Save = save_pretrained
) -> None:
    """Writes a model and its preprocessing; every file is replaced whole.

    A model with LoRA is written merged, and what it learned once more by itself, into ``adapter``
    beside the folder.

    Args:
        model: The model, with the weights to export in place.
        folder: Usually ``RUN/model``.
        preprocessing: JSON values.
        save: Writes config.json and model.safetensors into a folder.
    """
    with staged_folder(folder) as part:
        save(model, part)
        with atomic_write(part / "preprocessing.json", "w") as file:
            json.dump(preprocessing, file, indent=2, ensure_ascii=False)
    if is_adapted(model):
        report = getattr(model, "load_report", None)
        save_adapter(model, folder.parent / "adapter", base=getattr(report, "source", ""))
