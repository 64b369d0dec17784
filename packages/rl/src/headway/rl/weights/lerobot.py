"""What folders of LeRobot say of any policy: spaces, statistics, and what is normalised how."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import InputError, UserError
from headway.core.reading import check_file, read_json
from headway.core.weights.checkpoint import Checkpoint, read_tensors
from headway.core.weights.table import Reshaped
from headway.rl.layers import Moments, ScaledActions
from headway.rl.layers.observations import ObservationEncoder
from headway.rl.layers.observations.eyes import Eyes
from headway.rl.spaces import Box, Dict, Leaf, Spaces

# Blocks of each stage of the networks that look.
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
STATE, ENVIRONMENT, IMAGES = (
    "observation.state",
    "observation.environment_state",
    "observation.images.",
)
PROCESSOR = "policy_preprocessor.json"
# How it was trained and where it lies.
HARMLESS = (
    *("device", "use_amp", "use_peft", "push_to_hub", "repo_id", "private", "tags", "license"),
    *("pretrained_path", "pretrained_backbone_weights", "type", "optimizer_lr"),
    *("optimizer_weight_decay", "optimizer_lr_backbone", "optimizer_betas", "optimizer_eps"),
    *("scheduler_name", "scheduler_warmup_steps", "drop_n_last_frames"),
)
ROW = Reshaped(lambda value: value[0], lambda value: value[None])


def is_policy(checkpoint: Checkpoint, kind: str, key: str) -> bool:
    """Whether config.json is that of a kind of policy.

    Args:
        checkpoint: What was opened.
        kind: The type that it names.
        key: What such a configuration always says.
    """
    config = checkpoint.config
    return config is not None and config.get("type") == kind and key in config


def companions(checkpoint: Checkpoint) -> list[str]:
    """Returns the names of the files of statistics."""
    return [] if not (checkpoint.folder / PROCESSOR).exists() else _steps(checkpoint)


def spaces_of(
    config: Mapping[str, Any], source: str, order: Sequence[str] = (STATE, ENVIRONMENT, IMAGES)
) -> Spaces:
    """Returns what config.json says is seen and done.

    Args:
        config: The configuration.
        source: Where it stands, for errors.
        order: Of the parts; cameras have one beginning in common.

    Raises:
        InputError: If it says nothing of it, or something that is not known.
    """
    inputs, outputs = config.get("input_features") or {}, config.get("output_features") or {}
    parts: dict[str, Leaf] = {}
    for name in (name for front in order for name in inputs if name.startswith(front)):
        shape = _shape(inputs[name], name, source)
        key = name.removeprefix("observation.")
        if name.startswith(IMAGES):
            # There channels come first, and pictures lie between 0 and 1.
            shape = (*shape[1:], shape[0])
            parts[key] = Box(shape=shape, low=0.0, high=255.0, dtype="uint8")
        else:
            parts[key] = Box(shape=shape)
    unknown = sorted(
        set(inputs) - {STATE, ENVIRONMENT} - {n for n in inputs if n.startswith(IMAGES)}
    )
    if unknown or not parts or "action" not in outputs:
        raise InputError(
            source,
            f"sees {', '.join(inputs) or 'nothing'} and says {', '.join(outputs) or 'nothing'}; known are "
            f"{STATE}, {ENVIRONMENT}, {IMAGES}* and action",
        )
    return Spaces(
        observation=Dict(parts=parts), action=Box(shape=_shape(outputs["action"], "action", source))
    )


def _shape(feature: Any, name: str, source: str) -> tuple[int, ...]:
    shape = feature.get("shape") if isinstance(feature, Mapping) else None
    if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
        raise InputError(source, f"says that {name} has shape {shape!r:.60}")
    return tuple(shape)


def statistics_of(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Returns mean, std, min and max by the name of the feature, as ``observation.state.mean``."""
    found: dict[str, Tensor] = {}
    if (checkpoint.folder / PROCESSOR).exists():
        for name in _steps(checkpoint):
            found |= read_tensors(check_file(checkpoint.folder / name, "file of statistics"))
        return found
    # Before processors had files of their own the statistics stood among the tensors.
    for name, value in checkpoint.state.items():
        front, _, last = name.partition(".buffer_")
        if front in ("normalize_inputs", "normalize_targets", "unnormalize_outputs"):
            feature, _, kind = last.rpartition(".")
            found[f"{_dotted(feature)}.{kind}"] = value
    return found


def _steps(checkpoint: Checkpoint) -> list[str]:
    """Returns the names of the files of the steps of the processor.

    Raises:
        InputError: If one lies elsewhere.
    """
    file = checkpoint.folder / PROCESSOR
    steps = read_json(file, "LeRobot processor").get("steps")
    steps = [step for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []
    names = [step["state_file"] for step in steps if isinstance(step.get("state_file"), str)]
    for name in names:
        if Path(name).name != name:
            raise InputError(str(file), f"names the file {name!r}, outside its folder")
    return names


def _dotted(feature: str) -> str:
    """Returns the name of a feature, of which older files have replaced the dots."""
    for front in (STATE, ENVIRONMENT, "observation.images."):
        flat = front.replace(".", "_")
        if feature.startswith(flat):
            return front + feature.removeprefix(flat)
    return feature


def normalise(
    seen: ObservationEncoder,
    head: ScaledActions,
    checkpoint: Checkpoint,
    modes: Mapping[str, str],
) -> dict[str, Moments]:
    """Gives encoder and head the statistics of each feature, by the mode of its kind, if that has one.

    Args:
        seen: What reads observations.
        head: What says actions.
        checkpoint: What was opened.
        modes: How features are normalised by kind.

    Returns:
        Those of the numbers that are seen.
    """
    assert isinstance(seen.space, Dict)
    found = statistics_of(checkpoint)
    cameras = seen.cameras if isinstance(seen, Eyes) else ()
    numbers = [name for name in seen.space.parts if name not in cameras]
    kinds = {name: "ENV" if name == "environment_state" else "STATE" for name in numbers}
    moments = {
        name: _moments(found, f"observation.{name}", modes.get(kinds[name], "IDENTITY"))
        for name in numbers
    }
    seen.set_moments(moments)
    for number, name in enumerate(cameras):
        assert isinstance(seen, Eyes)
        seen.set_pictures(
            number, *_moments(found, f"observation.{name}", modes.get("VISUAL", "IDENTITY"))
        )
    one = _moments(found, "action", modes.get("ACTION", "IDENTITY"))
    mean, std = (value.expand(head.action_dim) for value in one)
    head.set_bounds(mean - std, mean + std)
    return moments


def _moments(found: Mapping[str, Tensor], name: str, mode: str) -> Moments:
    """Returns what is subtracted and what is divided by."""
    wanted = {"MEAN_STD": ("mean", "std"), "MIN_MAX": ("min", "max"), "IDENTITY": ()}
    if mode not in wanted:
        raise UserError(f"normalization_mapping says {mode!r}; known: {', '.join(wanted)}")
    if mode == "IDENTITY":
        return Moments(torch.zeros(()), torch.ones(()))
    missing = [kind for kind in wanted[mode] if f"{name}.{kind}" not in found]
    if missing:
        raise UserError(
            f"there is no {name}.{missing[0]} among the statistics of the checkpoint; "
            "policy_preprocessor.json and the files that it names belong into its folder"
        )
    first, second = (found[f"{name}.{kind}"].float() for kind in wanted[mode])
    if mode == "MEAN_STD":
        return Moments(first, second)
    return Moments((first + second) / 2, (second - first) / 2)
