"""Opening what a user points at: a folder, a file, a run, or a name on the hub."""

import pickle
import re
from argparse import Namespace
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from headway.core.errors import UserError
from headway.core.finetune.adapter_files import merge_tensors
from headway.core.reading import check_file, check_path, read_json
from headway.core.weights.bounds import check_zip
from headway.core.weights.ctranslate2 import is_ctranslate2, read_ctranslate2
from headway.core.weights.noted_config import NotedConfig

SAFE_SUFFIXES = (".safetensors",)
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar")
# Wrappers that official checkpoints come in, outermost first.
WRAPPERS = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model",
    "model_state",
    "params_ema",
    "params",
)
HUB_FILES = ["*.json", "*.safetensors", "pytorch_model*.bin", "model.bin"]


@dataclass(frozen=True)
class Checkpoint:
    """A configuration, if there is one, and tensors by name, read when they are needed.

    Args:
        source: What the user named.
        config: Contents of config.json.
        files: Files that hold the tensors.
        folder: Where further files (preprocessing.json) lie.
    """

    source: str
    config: NotedConfig | None
    files: tuple[Path, ...]
    folder: Path
    preprocessing: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def state(self) -> dict[str, Tensor]:
        """The tensors by name, wrappers and ``module.`` prefixes removed."""
        state: dict[str, Tensor] = {}
        for file in self.files:
            state.update(read_tensors(file))
        if self.files and self.files[0].suffix == ".ckpt":
            # RUN/checkpoints/best.ckpt of a LoRA run; RUN/adapter says how its parts are joined.
            return merge_tensors(state, self.files[0].parent.parent / "adapter")
        return state

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """What the program that wrote a packed file was told (``args`` beside the tensors); often nothing."""
        if len(self.files) != 1 or self.files[0].suffix not in PICKLE_SUFFIXES:
            return {}
        _ = self.state  # whatever is wrong with the file is said there
        if _is_safetensors(self.files[0]) or is_ctranslate2(self.files[0]):
            return {}
        content = load_packed(self.files[0])
        found = content.get("args") if isinstance(content, dict) else None
        found = vars(found) if isinstance(found, Namespace) else found
        return dict(found) if isinstance(found, dict) else {}


def open_checkpoint(source: str | Path) -> Checkpoint:
    """Finds configuration and tensor files of a source; downloads it if it is a name on the hub.

    Args:
        source: A run folder, a folder with config.json, a file of tensors, or ``owner/name``.

    Raises:
        UserError: If there is nothing to load.
    """
    check_path(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return _open_folder(str(source), path)
    if path.exists():
        return _open_file(str(source), check_file(path, "file of weights"))
    name = str(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no file or folder {name}")
    return _open_folder(name, _download(name))


def _open_folder(source: str, folder: Path) -> Checkpoint:
    if (folder / "model" / "config.json").is_file():
        folder = folder / "model"  # a run folder
    config = _read_config(folder)
    index = _read_json(folder / "model.safetensors.index.json")
    if index is not None:
        weight_map = index.get("weight_map", {})
        names: list[Any] = list(weight_map.values()) if isinstance(weight_map, dict) else [None]
        if not all(isinstance(name, str) for name in names):
            raise UserError(f"{folder / 'model.safetensors.index.json'} has no weight_map of names")
        names = sorted(set(names))
        if any(Path(name).name != name or name in ("", "..") for name in names):
            raise UserError(
                f"{folder / 'model.safetensors.index.json'} names files outside its folder"
            )
        files = tuple(folder / name for name in names)
    else:
        preferred = ("model.safetensors", "pytorch_model.bin", "model.pth", "model.pt")
        files = tuple(folder / name for name in preferred if (folder / name).is_file())[:1]
        files = files or tuple(sorted(folder.glob("*.safetensors")))[:1]
        packed = folder / "model.bin"  # of CTranslate2
        files = files or ((packed,) if packed.is_file() and is_ctranslate2(packed) else ())
        # What neuralforecast saves; with several, the user has to name one.
        single = tuple(folder.glob("*.ckpt"))
        files = files or (single if len(single) == 1 else ())
    if not files:
        raise UserError(
            f"{source} holds no weights (looked for model.safetensors and pytorch_model.bin in {folder})"
        )
    preprocessing = _read_json(folder / "preprocessing.json") or {}
    return Checkpoint(source, config, files, folder, preprocessing)


def _open_file(source: str, path: Path) -> Checkpoint:
    if path.suffix in (".onnx", ".pt2"):
        raise UserError(
            f"{source} is an exported graph, which only answers; take the model that it was exported from"
        )
    if path.suffix not in (*SAFE_SUFFIXES, *PICKLE_SUFFIXES):
        raise UserError(
            f"{source} is no file of weights; expected "
            f"{', '.join((*SAFE_SUFFIXES, *PICKLE_SUFFIXES))}"
        )
    folder = path.parent
    if path.suffix == ".ckpt" and (folder.parent / "model" / "config.json").is_file():
        folder = folder.parent / "model"  # RUN/checkpoints/best.ckpt
    config = _read_config(folder)
    preprocessing = _read_json(folder / "preprocessing.json") or {}
    return Checkpoint(source, config, (path,), folder, preprocessing)


def _read_config(folder: Path) -> NotedConfig | None:
    found = _read_json(folder / "config.json")
    return None if found is None else NotedConfig(found, str(folder / "config.json"))


def _read_json(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.exists() else None


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Reads tensors by name; never executes what the file holds.

    Raises:
        UserError: If the file is missing, cut off, no file of tensors, or holds code.
    """
    check_file(path, "file of weights")
    try:
        if path.suffix in SAFE_SUFFIXES or _is_safetensors(path):
            return _clean(load_file(path), path)
        if is_ctranslate2(path):
            return read_ctranslate2(path).tensors
        check_zip(path)
        return _clean(load_packed(path), path)
    except pickle.UnpicklingError as error:
        reason = (
            str(error).strip().splitlines()[0] if str(error).strip() else "not a file of tensors"
        )
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            what = f"pickled code: {named.group(1)}" if named else "pickled code"
            raise UserError(
                f"{path} holds more than tensors ({what}), which is never executed; "
                "save its state_dict, or convert it to safetensors where you trust it"
            ) from None
        raise UserError(f"{path} cannot be read: {reason}") from None
    except UserError:
        raise
    except Exception as error:
        # Of damaged files the readers raise anything: IndexError, AttributeError, OverflowError.
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} is damaged or no file of tensors: {reason}") from None


def load_packed(path: Path) -> Any:
    """Reads a packed file of tensors and plain values; a ``Namespace`` of arguments is one, too."""
    with torch.serialization.safe_globals([Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors by its content: some call such a file .ckpt."""
    with open(path, "rb") as file:
        # The length of a header, 8 bytes, and the JSON of the header.
        return file.read(10)[8:] == b'{"'


def _clean(content: Any, path: Path) -> dict[str, Tensor]:
    averaged = content.get("average") if isinstance(content, dict) else None
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
            break
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, expected tensors by name")
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if isinstance(averaged, dict):
        state.update(_averages(averaged))
    if path.suffix == ".ckpt" and any(name.startswith("backbone.") for name in state):
        # A task keeps tensors of its own (class weights) beside the model.
        state = {name: value for name, value in state.items() if name.startswith("backbone.")}
    for prefix in ("module.", "backbone."):
        if state and all(name.startswith(prefix) for name in state if "." in name):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    # A model without parameters (a naive forecast) is saved as a file without tensors.
    if content and not state:
        raise UserError(f"{path} holds no tensors")
    return state


def _averages(averaged: dict[str, Any]) -> dict[str, Tensor]:
    """Returns the running averages that a task of headway stores beside its weights."""
    weights = averaged.get("tensors", averaged)
    if not isinstance(weights, dict):
        return {}
    return {name: value for name, value in weights.items() if isinstance(value, Tensor)}


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{name} is no file or folder here, and the hub could not deliver it: {reason}"
        ) from None
