"""Writing ``model/``: what is left of a run for those who only want to use the model."""

import copy
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from headway.core.files import DiskFullError, atomic_write, is_disk_full
from headway.core.finetune import LoRALinear, merge

Save = Callable[[nn.Module, Path], object]


def save_pretrained(model: nn.Module, folder: Path) -> None:
    """Writes config.json and model.safetensors through ``headway.core.weights``."""
    # By name: weights are a neighbour on the same floor, needed only here.
    importlib.import_module("headway.core.weights").save_pretrained(model, folder)


def export_model(
    model: nn.Module, folder: Path, preprocessing: dict[str, Any], *, save: Save = save_pretrained
) -> None:
    """Writes a model and its preprocessing; every file is replaced whole.

    Args:
        model: The model, with the weights to export in place.
        folder: Usually ``RUN/model``.
        preprocessing: JSON values.
        save: Writes config.json and model.safetensors into a folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        save(_plain(model), part)
        with atomic_write(part / "preprocessing.json", "w") as file:
            json.dump(preprocessing, file, indent=2, ensure_ascii=False)
        folder.mkdir(exist_ok=True)
        for source in sorted(path for path in part.rglob("*") if path.is_file()):
            target = folder / source.relative_to(part)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
    except Exception as error:
        if is_disk_full(error) and not isinstance(error, DiskFullError):
            raise DiskFullError(folder) from error
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _plain(model: nn.Module) -> nn.Module:
    """Returns the model with low-rank products merged into a copy: it loads without knowing of them."""
    if not any(isinstance(module, LoRALinear) for module in model.modules()):
        return model
    return merge(copy.deepcopy(model))
