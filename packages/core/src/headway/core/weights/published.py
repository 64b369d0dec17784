"""``save_published``: a model of headway in the format of another library."""

import copy
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from headway.core.blocks import DropPath
from headway.core.dropout import Dropout
from headway.core.errors import UserError
from headway.core.files import atomic_write, staged_folder
from headway.core.finetune import merge
from headway.core.module import Module
from headway.core.weights.checkpoint import WRAPPERS, Checkpoint, load_packed, open_checkpoint
from headway.core.weights.ctranslate2 import is_ctranslate2, write_ctranslate2
from headway.core.weights.pretrained import find_adapter, from_pretrained

# What stands beside the tensors: configuration, processor, tokenizer; not the list of files of tensors.
_DOCUMENTS, _INDEX = (".json", ".txt", ".model", ".jinja"), ".index.json"


def save_published(
    model: nn.Module, folder: str | Path, *, like: str | Path, **overrides: Any
) -> Path:
    """Writes a model in the published format of a checkpoint, for the library that the format is of.

    Names and forms of the tensors go through the table by which ``from_pretrained`` reads the format; what
    the checkpoint says besides (tokenizer, tensors that change no answer) is taken along. What was written
    is read back and compared with the model, bit for bit, before it is put in its place.

    Args:
        model: A model as ``from_pretrained(like)`` makes one, with other weights; classes, image size and
            whatever else the format can say may differ, too. What LoRA learned is written merged.
        folder: Made if need be; files of the same names are replaced.
        like: A folder, a file or a name on the hub: usually what the model was fine-tuned from.
        **overrides: What ``from_pretrained`` needs to be told of ``like``, such as ``heads``.

    Returns:
        What ``from_pretrained`` reads: the folder, or the file in it where ``like`` is a file.

    Raises:
        UserError: If ``like`` is of no known format, or if its format cannot say what the model is.
    """
    checkpoint = open_checkpoint(like)
    adapter = find_adapter(checkpoint)
    model = copy.deepcopy(model).cpu()
    merge(model)
    with torch.device("meta"):
        expected = type(adapter.build(checkpoint, dict(overrides)))
    if type(model) is not expected:
        raise UserError(
            f"{checkpoint.source} holds a {expected.__name__}, which a {type(model).__name__} cannot be "
            "written like"
        )
    table = adapter.table(checkpoint, model)
    tensors = table.to_theirs(model.state_dict(), model, names=checkpoint.state)
    for name in table.dropped(checkpoint.state):
        tensors.setdefault(name, checkpoint.state[name])
    documents = adapter.files(checkpoint, model) if hasattr(adapter, "files") else {}  # pyright: ignore[reportAttributeAccessIssue]
    folder = Path(folder)
    with staged_folder(folder) as there:
        _copy_documents(checkpoint, there)
        for name in getattr(adapter, "companions", lambda _: ())(checkpoint):
            shutil.copyfile(checkpoint.folder / name, there / name)
        written = _write_tensors(checkpoint, tensors, there)
        for name, content in documents.items():
            with atomic_write(there / name, "w") as file:
                json.dump(content, file, indent=2, ensure_ascii=False)
        difference = first_difference(model, from_pretrained(written, **overrides))
        if difference:
            raise UserError(f"{adapter.name} cannot hold this {type(model).__name__}: {difference}")
    return folder / written.name if Path(like).is_file() else folder


def first_difference(model: nn.Module, other: nn.Module) -> str:
    """Returns what distinguishes two models in evaluation, in a few words; empty if nothing does.

    Args:
        model: A model.
        other: Another.
    """
    mine, theirs = _parts(_as_described(model)), _parts(_as_described(other))
    for name, part in mine.items():
        if name not in theirs or type(part) is not type(theirs[name]):
            return f"its {name or 'class'} is a {type(part).__name__}, which does not return"
        ours, back = _settings(part), _settings(theirs[name])
        for key, value in ours.items():
            again = back.get(key)
            if not _alike(value, again):
                return f"{key} of its {name or 'constructor'} is {value!r:.60}, read {again!r:.60}"
    if extra := theirs.keys() - mine.keys():
        return f"it has no {min(extra)}"
    back = other.state_dict()
    for name, value in model.state_dict().items():
        if name not in back or not torch.equal(value, back[name].to(value.dtype)):
            return f"{name} does not return as it is"
    return ""


def _as_described(model: nn.Module) -> nn.Module:
    """Returns a model of the same arguments: parts keep those that they began with, the model has today's."""
    assert isinstance(model, Module)
    with torch.device("meta"):
        return type(model)(**model.init_args)


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the modules by name, without those that act in training alone."""
    return {
        name: part
        for name, part in model.named_modules()
        if not isinstance(part, Dropout | DropPath | nn.Dropout)
    }


def _settings(part: nn.Module) -> dict[str, Any]:
    """Returns the plain arguments of a module; its parts speak for themselves."""
    args = getattr(part, "init_args", None)
    if args is None:
        return {"repr": part.extra_repr()}
    plain = {name: value for name, value in args.items() if "drop" not in name}
    return {name: value for name, value in plain.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, int) and isinstance(other, list | tuple):  # a side, and both sides
        return all(side == one for side in other)
    if isinstance(one, list | tuple) and isinstance(other, int):
        return _alike(other, one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_alike, one, other))
    return one == other


def _copy_documents(checkpoint: Checkpoint, folder: Path) -> None:
    """Copies what stands beside the tensors: configuration, tokenizer, processor."""
    if checkpoint.config is None:
        return
    for file in checkpoint.folder.iterdir():
        if file.suffix in _DOCUMENTS and not file.name.endswith(_INDEX):
            shutil.copyfile(file, folder / file.name)


def _write_tensors(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], folder: Path) -> Path:
    """Writes the tensors into a file like that of the checkpoint, with what it says besides."""
    first = checkpoint.files[0]
    plain = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    if is_ctranslate2(first):
        write_ctranslate2(folder / first.name, plain, like=first)
        return folder / first.name
    notes = {"format": "pt"}
    try:
        with safe_open(first, framework="pt") as file:
            notes.update(file.metadata() or {})
    except Exception:  # a file that is no safetensors
        content = load_packed(first)
        if isinstance(content, dict) and len(checkpoint.files) == 1:
            torch.save(_replaced(content, plain), folder / first.name)
            return folder / first.name
    name = first.name if len(checkpoint.files) == 1 else "model.safetensors"
    name = name if name.endswith((".safetensors", ".ckpt")) else "model.safetensors"
    save_file(plain, folder / name, metadata=notes)
    return folder / name


def _replaced(content: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Returns what a packed file holds with other tensors, in the wrapper in which they lie."""
    wrapper = next((one for one in WRAPPERS if isinstance(content.get(one), dict)), None)
    return tensors if wrapper is None else {**content, wrapper: tensors}
