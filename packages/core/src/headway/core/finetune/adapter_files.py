"""What was learned beside a frozen model, as a small file."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.files import atomic_write
from headway.core.finetune.lora import LoRALinear


def save_adapter(model: nn.Module, folder: str | Path, *, base: str = "") -> Path:
    """Writes only what learns: ``adapter.safetensors`` and ``adapter.json``.

    Args:
        model: A model to which LoRA was applied.
        folder: Made if need be.
        base: Where the frozen weights came from, for the reader.

    Raises:
        UserError: If the model holds no LoRA layer.
    """
    layers = {name: m for name, m in model.named_modules() if isinstance(m, LoRALinear)}
    if not layers:
        raise UserError(f"{type(model).__name__} holds no LoRA layer; save it with save_pretrained")
    small = {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    settings = {
        name: {
            "rank": next(iter(layer.down.values())).shape[0],
            "alpha": layer.scale * next(iter(layer.down.values())).shape[0],
            "sections": {key: [rows.start, rows.stop] for key, rows in layer.parts.items()},
        }
        for name, layer in layers.items()
    }
    folder = Path(folder)
    with atomic_write(folder / "adapter.safetensors") as file:
        file.write(to_bytes(small, metadata={"format": "pt"}))
    with atomic_write(folder / "adapter.json", "w") as file:
        json.dump({"base": base, "layers": settings}, file, indent=2)
    return folder


def load_adapter(model: nn.Module, folder: str | Path) -> nn.Module:
    """Puts a saved adapter onto the model that it was trained on, in place; returns the model.

    Raises:
        UserError: If the files are missing or belong to another model.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    settings = _settings(folder)
    state = load_file(folder / "adapter.safetensors")
    modules = dict(model.named_modules())
    for name, layer in settings["layers"].items():
        base = modules.get(name)
        if not isinstance(base, nn.Linear):
            raise UserError(
                f"the adapter in {folder} changes {name}, which the model does not have"
            )
        sections = {key: slice(*rows) for key, rows in layer["sections"].items()}
        adapted = LoRALinear(base, rank=layer["rank"], alpha=layer["alpha"], sections=sections)
        model.set_submodule(name, adapted)
    own = model.state_dict()
    wrong = [
        name for name, value in state.items() if name not in own or own[name].shape != value.shape
    ]
    if wrong:
        raise UserError(f"the adapter in {folder} does not fit the model: {wrong[0]} is different")
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)
    return model


def is_adapted(model: nn.Module) -> bool:
    """Whether LoRA was applied to the model."""
    return any(isinstance(module, LoRALinear) for module in model.modules())


def merge_tensors(state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint of a LoRA run as those of the merged model.

    Args:
        state: Tensors by name; without a LoRA layer they are returned as they are.
        folder: Where ``save_adapter`` wrote what the layers look like.

    Raises:
        UserError: If the folder does not say it.
    """
    adapted = {key.removesuffix(".base.weight") for key in state if key.endswith(".base.weight")}
    adapted = {name for name in adapted if any(key.startswith(f"{name}.down.") for key in state)}
    if not adapted:
        return state
    settings = _settings(folder)["layers"]
    state = dict(state)
    for name in adapted:
        if name not in settings:
            raise UserError(f"{folder / 'adapter.json'} says nothing about {name}")
        layer = settings[name]
        weight = state.pop(f"{name}.base.weight").clone()
        for section, (start, stop) in layer["sections"].items():
            down, up = (state.pop(f"{name}.{part}.{section}") for part in ("down", "up"))
            weight[start:stop] += layer["alpha"] / layer["rank"] * (up @ down)
        state[f"{name}.weight"] = weight
        if (bias := state.pop(f"{name}.base.bias", None)) is not None:
            state[f"{name}.bias"] = bias
    return state


def _settings(folder: Path) -> dict[str, Any]:
    if not (folder / "adapter.json").is_file():
        raise UserError(f"{folder} holds no adapter.json; was it written by save_adapter?")
    return json.loads((folder / "adapter.json").read_text(encoding="utf-8"))
