"""``from_pretrained`` and ``save_pretrained``."""

import json
from collections.abc import Collection
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_bytes
from torch import nn

from headway.core.changes import CHANGES
from headway.core.errors import InputError, UserError, one_line
from headway.core.files import atomic_write
from headway.core.finetune import merged_state
from headway.core.finite import non_finite
from headway.core.reduction import is_merged
from headway.core.weights.adapter import Adapter, adapters
from headway.core.weights.bounds import check_arguments, check_elements
from headway.core.weights.checkpoint import Checkpoint, open_checkpoint
from headway.core.weights.config import build, describe, find_class
from headway.core.weights.load import LoadReport, load_weights
from headway.core.weights.noted_config import reading_config, refuse_other_architecture


def save_pretrained(model: nn.Module, folder: str | Path) -> Path:
    """Writes ``config.json`` and ``model.safetensors``; each file is whole or absent.

    What LoRA learned is written merged; the model itself stays as it is.

    Args:
        model: A model built from parts of headway.
        folder: Made if need be.

    Raises:
        UserError: If an argument of the model cannot be written, or its tokens are merged.
    """
    if is_merged(model):
        raise UserError(
            "merging tokens is no part of a checkpoint; call unmerge_model(model) first"
        )
    folder = Path(folder)
    config: dict[str, Any] = {"headway_version": metadata.version("headway"), **describe(model)}
    wishes = getattr(model, "pretrained_cfg", None)
    if isinstance(wishes, dict):
        config["pretrained_cfg"] = wishes
    # Tied parameters are stored once under each name: safetensors refuses shared memory.
    state = {
        name: value.detach().cpu().contiguous().clone()
        for name, value in merged_state(model).items()
    }
    broken = next(non_finite(state), None)
    if broken is not None:
        raise UserError(
            f"{broken} holds nan or infinity; such a model answers nothing and is not written"
        )
    with atomic_write(folder / "model.safetensors") as file:
        file.write(to_bytes(state, metadata={"format": "pt"}))
    with atomic_write(folder / "config.json", "w") as file:
        json.dump(config, file, indent=2)
    return folder


def from_pretrained(
    source: str | Path, *, allow: Collection[str] = (), **overrides: Any
) -> nn.Module:
    """Loads a model; ``model.load_report`` says what became of every key.

    The source is recognised by, in order: a config.json of headway (``class_path``), the formats that
    the domains know (Hugging Face ``model_type``, timm ``architecture``, key patterns of official
    files).

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        allow: Import paths of foreign classes that a config.json of headway may name.
        **overrides: Arguments that differ from the checkpoint's. What the model can change after
            loading (``num_classes``, ``image_size``) is changed then, the rest when it is built.

    Raises:
        UserError: If the source is missing, unknown, of another model, or not to be trusted.
    """
    checkpoint = open_checkpoint(source)
    changes = {name: value for name, value in overrides.items() if name in CHANGES}
    wishes = {name: value for name, value in overrides.items() if name not in CHANGES}
    if checkpoint.config is not None and "class_path" in checkpoint.config:
        model, report = _own(checkpoint, checkpoint.config, allow, wishes)
    else:
        model, report = _published(checkpoint, wishes)
    return change(model, report, changes)


def _own(
    checkpoint: Checkpoint, config: dict[str, Any], allow: Collection[str], wishes: dict[str, Any]
) -> tuple[nn.Module, LoadReport]:
    written = {"class_path": config.get("class_path"), "init_args": config.get("init_args", {})}
    find_class(written, allow)
    check_arguments(written["init_args"], checkpoint.state, checkpoint.source)
    check_elements(
        lambda: build(written, allow=allow, overrides=wishes), checkpoint.state, checkpoint.source
    )
    try:
        model = build(written, allow=allow, overrides=wishes)
    except UserError as error:
        raise InputError(checkpoint.source, str(error)) from error
    except Exception as error:
        # A constructor checks values; of wrong types Python and torch complain in their own words.
        raise UserError(
            f"{checkpoint.source}: {config['class_path']} cannot be built from its config.json "
            f"({type(error).__name__}: {one_line(error)[:200]})"
        ) from error
    report = load_weights(
        model, checkpoint.state, source=checkpoint.source, may_miss=getattr(model, "may_miss", ())
    )
    cfg = config.get("pretrained_cfg")
    if isinstance(cfg, dict):
        model.pretrained_cfg = cfg  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    return model, report


def _published(checkpoint: Checkpoint, wishes: dict[str, Any]) -> tuple[nn.Module, LoadReport]:
    adapter = find_adapter(checkpoint)
    refuse_other_architecture(
        checkpoint.config,
        checkpoint.source,
        name=adapter.name,
        known=getattr(adapter, "architectures", ()),
    )
    config, defaults = checkpoint.config, getattr(adapter, "defaults", None)
    if config is not None:
        check_arguments(dict(config), checkpoint.state, checkpoint.source, published=True)
    with reading_config(checkpoint.source, adapter.name, config):
        check_elements(
            lambda: adapter.build(checkpoint, dict(wishes)), checkpoint.state, checkpoint.source
        )
        if config is not None:
            config.read.clear()
        model = adapter.build(checkpoint, wishes)
    if config is not None and defaults is not None:
        config.refuse_unread(
            checkpoint.source, defaults=defaults, harmless=getattr(adapter, "harmless", ())
        )
    if wishes:
        raise UserError(f"{adapter.name} does not take {', '.join(wishes)}")
    with reading_config(checkpoint.source, adapter.name, config):
        state = adapter.table(checkpoint, model).to_ours(checkpoint.state, model)
    report = load_weights(
        model, state, source=checkpoint.source, may_miss=getattr(adapter, "may_miss", ())
    )
    return model, report


def find_adapter(checkpoint: Checkpoint) -> Adapter:
    """Returns the adapter of the published format of a checkpoint.

    Where several read files of its kind, it is the one that knows the class that config.json names.

    Raises:
        UserError: If it is of none that an installed domain knows, or fits several.
    """
    found = []
    for adapter in adapters():
        with reading_config(checkpoint.source, adapter.name, checkpoint.config):
            if adapter.recognises(checkpoint):
                found.append(adapter)
    if len(found) > 1:
        named = (checkpoint.config or {}).get("architectures") or []
        knows = [one for one in found if set(named) & set(getattr(one, "architectures", ()))]
        found = knows if len(knows) == 1 else found
    if len(found) == 1:
        return found[0]
    candidates = ", ".join(adapter.name for adapter in found or adapters()) or "none installed"
    problem = "fits several formats" if found else "is of no known format"
    raise UserError(
        f"{checkpoint.source} {problem}; known: own folders (config.json with class_path), {candidates}"
    )


def change(model: nn.Module, report: LoadReport, changes: dict[str, Any]) -> nn.Module:
    """Changes a loaded model and its account: new head, other image size."""
    for name, value in changes.items():
        if value is None or getattr(model, "init_args", {}).get(name) == value:
            continue
        method = getattr(model, CHANGES[name].method, None)
        if method is None:
            raise UserError(f"{type(model).__name__} cannot change {name} after loading")
        method(value)
    report = report.after_changes(model)
    model.load_report = report  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    return model
