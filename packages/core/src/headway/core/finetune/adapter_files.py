"""What was learned beside a frozen model, as a small file."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from headway.core.changes import CHANGES, changed_arguments, new_parameters
from headway.core.errors import UserError, one_line
from headway.core.files import atomic_write
from headway.core.finetune.lora import LoRALinear, lora_layers
from headway.core.kinds import fits
from headway.core.module import with_new_names
from headway.core.reading import check_file, read_json


def save_adapter(model: nn.Module, folder: str | Path, *, base: str = "") -> Path:
    """Writes all that differs from the model's base: ``adapter.safetensors`` and ``adapter.json``.

    That is what learns, the statistics (buffers), what nothing was learned about before, and which
    arguments were changed (classes, channels, vocabulary ...). The base and the adapter together are the
    tuned model.

    Args:
        model: A model to which LoRA was applied, or of which a part was frozen.
        folder: Made if need be.
        base: Where the frozen weights came from, for the reader.

    Raises:
        UserError: If everything in the model learns, so that no base is left.
    """
    if all(parameter.requires_grad for parameter in model.parameters()):
        raise UserError(
            f"{type(model).__name__} holds no LoRA layer and nothing in it is frozen; save it with "
            "save_pretrained"
        )
    new = new_parameters(model)
    frozen = {
        name
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if not parameter.requires_grad and name not in new
    }
    small = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in model.state_dict().items()
        if name not in frozen
    }
    settings = {
        name: {
            "rank": next(iter(layer.down.values())).shape[0],
            "alpha": layer.scale * next(iter(layer.down.values())).shape[0],
            "sections": {key: [rows.start, rows.stop] for key, rows in layer.parts.items()},
        }
        for name, layer in lora_layers(model)
    }
    folder = Path(folder)
    with atomic_write(folder / "adapter.safetensors") as file:
        file.write(to_bytes(small, metadata={"format": "pt"}))
    with atomic_write(folder / "adapter.json", "w") as file:
        content = {"base": base, "changes": changed_arguments(model), "layers": settings}
        json.dump(content, file, indent=2)
    return folder


def load_adapter(model: nn.Module, folder: str | Path) -> nn.Module:
    """Puts a saved adapter onto the model that it was trained on, in place; returns the model.

    The model may still have its first classes, channels or vocabulary: what was changed in training is
    changed here. A model that is in evaluation mode stays in it.

    Raises:
        UserError: If the files are missing, damaged, or belong to another model; the model is then as it
            was, but for what the adapter changes (classes, vocabulary ...).
    """
    folder = Path(folder)
    settings = _settings(folder)
    state = with_new_names(model, _tensors(folder / "adapter.safetensors"))
    if is_adapted(model):
        raise UserError(
            f"{type(model).__name__} carries an adapter already; Adapters(base) holds several"
        )
    _check_layers(model, settings["layers"], folder)
    for name, value in settings["changes"].items():
        method = getattr(model, CHANGES[name].method, None) if name in CHANGES else None
        if method is None:
            raise UserError(
                f"the adapter in {folder} changes {name}, which {type(model).__name__} cannot"
            )
        method(value)
    modules = dict(model.named_modules())
    for name, layer in settings["layers"].items():
        linear: Any = modules[name]
        sections = {key: slice(*rows) for key, rows in layer["sections"].items()}
        adapted = LoRALinear(linear, rank=layer["rank"], alpha=layer["alpha"], sections=sections)
        model.set_submodule(name, adapted.train(linear.training))
    own = model.state_dict(keep_vars=True)
    wrong = [
        name for name, value in state.items() if name not in own or own[name].shape != value.shape
    ]
    if wrong:
        _remove_layers(model)
        raise UserError(f"the adapter in {folder} does not fit the model: {wrong[0]} is different")
    replaced: dict[int, Tensor] = {}  # tied parameters stay one
    for name, value in state.items():
        old = own[name]
        new = replaced.setdefault(id(old), _like(old, value))
        _put(model, name, new)
    return model


def is_adapted(model: nn.Module) -> bool:
    """Whether LoRA was applied to the model."""
    return next(lora_layers(model), None) is not None


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
        _check_layer(name, layer, len(weight), folder)
        try:
            for section, (start, stop) in layer["sections"].items():
                down, up = (state.pop(f"{name}.{part}.{section}") for part in ("down", "up"))
                weight[start:stop] += layer["alpha"] / layer["rank"] * (up @ down)
        except (KeyError, RuntimeError):
            raise UserError(
                f"{folder / 'adapter.json'} does not fit the checkpoint at {name}: {layer}"
            ) from None
        state[f"{name}.weight"] = weight
        if (bias := state.pop(f"{name}.base.bias", None)) is not None:
            state[f"{name}.bias"] = bias
    return state


def _settings(folder: Path) -> dict[str, Any]:
    if not (folder / "adapter.json").is_file():
        raise UserError(f"{folder} holds no adapter.json; was it written by save_adapter?")
    found = read_json(folder / "adapter.json")
    found.setdefault("changes", {})
    for key in ("layers", "changes"):
        if not isinstance(found.get(key), dict):
            raise UserError(f"{folder / 'adapter.json'} is damaged: {key} is no mapping")
    return found


def _tensors(path: Path) -> dict[str, Tensor]:
    check_file(path)
    try:
        return load_file(path)
    except (SafetensorError, RuntimeError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged: {one_line(error)}") from None


def _check_layers(model: nn.Module, layers: dict[str, Any], folder: Path) -> None:
    """Raises if a layer is not in the model, or what is said about it makes no sense."""
    modules = dict(model.named_modules())
    for name, layer in layers.items():
        base = modules.get(name)
        if not isinstance(base, nn.Linear):
            raise UserError(
                f"the adapter in {folder} changes {name}, which the model does not have"
            )
        _check_layer(name, layer, base.out_features, folder)


def _check_layer(name: str, layer: Any, rows: int, folder: Path) -> None:
    """Raises if what is said about a layer of so many rows makes no sense."""
    try:
        sound = layer["rank"] in range(1, 2**16) and fits(layer["alpha"], float)
        sound = sound and all(
            0 <= start < stop <= rows for start, stop in layer["sections"].values()
        )
    except (TypeError, KeyError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise UserError(
            f"{folder / 'adapter.json'} does not fit the model at {name}: {layer!r:.200}"
        )


def _like(old: Tensor, value: Tensor) -> Tensor:
    new = value.to(old)
    return (
        nn.Parameter(new, requires_grad=old.requires_grad) if isinstance(old, nn.Parameter) else new
    )


def _put(model: nn.Module, name: str, new: Tensor) -> None:
    """Replaces a tensor: written into, it would change in every model that shares the base."""
    path, _, last = name.rpartition(".")
    owner: Any = model.get_submodule(path)
    if isinstance(owner, nn.ParameterDict):
        owner[last] = new
    else:
        setattr(owner, last, new)


def _remove_layers(model: nn.Module) -> None:
    for name, layer in list(lora_layers(model)):
        model.set_submodule(name, layer.base.requires_grad_(True))
