"""Reading policies of LeRobot: action chunking with transformers."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import InputError, UserError
from headway.core.feedforward import GELU, MLP
from headway.core.reading import check_file, read_json
from headway.core.weights.checkpoint import Checkpoint, read_tensors
from headway.core.weights.table import Reshaped, Rule, Table, combine, drop, own, rename, under
from headway.rl.layers import CameraObservations, ContinuousActions, Moments
from headway.rl.models.act import ACT
from headway.rl.spaces import Box, Dict, Leaf, Spaces

ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "gelu": GELU}
# Blocks of each stage of the networks that look.
DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
STATE, ENVIRONMENT, IMAGES = (
    "observation.state",
    "observation.environment_state",
    "observation.images.",
)
PROCESSOR = "policy_preprocessor.json"
# What config.json may say that is not read here, and the only value that is known of each.
FIXED = {
    "pre_norm": False,
    "use_vae": True,
    "replace_final_stride_with_dilation": False,
    "n_obs_steps": 1,
}
# How features are normalised where the file does not say.
MODES = {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}
# How it was trained and where it lies.
HARMLESS = (
    *("device", "use_amp", "use_peft", "push_to_hub", "repo_id", "private", "tags", "license"),
    *("pretrained_path", "pretrained_backbone_weights", "type", "optimizer_lr"),
    *("optimizer_weight_decay", "optimizer_lr_backbone"),
)
_ROW = Reshaped(lambda value: value[0], lambda value: value[None])


def _attention(ours: str, theirs: str) -> list[Rule]:
    """Returns the rules of torch's attention, whose three projections are one."""

    def split(value: Tensor) -> tuple[Tensor, Tensor]:
        return value[: 2 * len(value) // 3], value[2 * len(value) // 3 :]

    def both(first: Tensor, last: Tensor) -> Tensor:
        return torch.cat([first, last])

    return [
        *(
            combine(
                [f"{ours}qk.{part}", f"{ours}v.{part}"],
                [f"{theirs}in_proj_{part}"],
                read=split,
                write=both,
            )
            for part in ("weight", "bias")
        ),
        rename(f"{ours}projection.*", f"{theirs}out_proj.*"),
    ]


def _cross(ours: str, theirs: str) -> list[Rule]:
    return [
        *(
            combine(
                [f"{ours}q.{part}", f"{ours}k.{part}", f"{ours}v.{part}"],
                [f"{theirs}in_proj_{part}"],
                read=lambda value: tuple(value.chunk(3)),
                write=lambda *parts: torch.cat(parts),
            )
            for part in ("weight", "bias")
        ),
        rename(f"{ours}projection.*", f"{theirs}out_proj.*"),
    ]


def _blocks(ours: str, theirs: str, *, decoder: bool = False) -> list[Rule]:
    cross = [
        *_cross("cross.function.", "multihead_attn."),
        rename("cross.norm.*", "norm2.*"),
    ]
    return under(
        f"{ours}.blocks.{{n}}.",
        f"model.{theirs}.layers.{{n}}.",
        *_attention("mixer.function.", "self_attn."),
        rename("mixer.norm.*", "norm1.*"),
        *(cross if decoder else []),
        rename("feedforward.norm.*", "norm3.*" if decoder else "norm2.*"),
        rename("feedforward.function.fc{k}.*", "linear{k}.*"),
    )


def _table(front: str) -> Table:
    """Returns the names.

    Args:
        front: Of what reads numbers: beside cameras they stand elsewhere than alone.
    """
    return Table(
        # A table of sines, counters, and the statistics of older files, which ``build`` reads.
        drop("model.vae_encoder_pos_enc", "normalize_*", "unnormalize_*", "*num_batches_tracked"),
        rename("class_token", "model.vae_encoder_cls_embed.weight", form=_ROW),
        rename(
            "style_observations.parts.state.linear.*", "model.vae_encoder_robot_state_input_proj.*"
        ),
        rename("actions.embedding.*", "model.vae_encoder_action_input_proj.*"),
        rename("style_statistics.*", "model.vae_encoder_latent_output_proj.*"),
        rename("style_embedding.*", "model.encoder_latent_input_proj.*"),
        rename("places", "model.encoder_1d_feature_pos_embed.weight"),
        rename("queries", "model.decoder_pos_embed.weight"),
        rename("actions.head.*", "model.action_head.*"),
        rename("observation_embedding.backbone.*", "model.backbone.*"),
        rename("observation_embedding.projection.*", "model.encoder_img_feat_input_proj.*"),
        rename(f"{front}.state.linear.*", "model.encoder_robot_state_input_proj.*"),
        rename(f"{front}.environment_state.linear.*", "model.encoder_env_state_input_proj.*"),
        _blocks("style_encoder", "vae_encoder"),
        _blocks("encoder", "encoder"),
        _blocks("decoder", "decoder", decoder=True),
        rename("decoder.norm.*", "model.decoder.norm.*"),
        own("actions.low", "actions.high", f"{front}.*.mean", f"{front}.*.std"),
        own("style_observations.parts.*.mean", "style_observations.parts.*.std"),
        own("observation_embedding.means", "observation_embedding.stds", "return_scale"),
    )


class LeRobotACT:
    """Recognises ``type: act`` in config.json, of folders before and after processors had files of their own.

    Observations have the names of ``LeRobotData``: ``state``, ``environment_state``, ``images.<camera>``;
    pictures are bytes with channels last. What normalises is read from ``policy_preprocessor.json`` and its
    steps, or from the tensors of older files.
    """

    name = "LeRobot ACT"
    defaults: ClassVar[dict[str, Any]] = FIXED
    harmless: ClassVar[tuple[str, ...]] = HARMLESS

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of ACT."""
        config = checkpoint.config
        return config is not None and config.get("type") == "act" and "chunk_size" in config

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes, with the statistics of its processors."""
        config = checkpoint.config or {}
        activation = config.get("feedforward_activation", "relu")
        network = config.get("vision_backbone", "resnet18")
        if activation not in ACTIVATIONS:
            raise UserError(
                f"the activation {activation!r} is not known; known: {', '.join(ACTIVATIONS)}"
            )
        spaces = _spaces(config, checkpoint.source)
        dim = config.get("dim_model", 512)
        assert isinstance(spaces.observation, Dict)
        observations: Any = None
        if any(name.startswith("images.") for name in spaces.observation.parts):
            if network not in DEPTHS:
                raise UserError(f"vision_backbone is {network!r}; known: {', '.join(DEPTHS)}")
            observations = partial(CameraObservations, depths=DEPTHS[network])
        model = ACT(
            spaces=spaces.to_json(),
            observations=observations,
            actions=partial(
                ContinuousActions, bounded=False, scaling="statistics", error="absolute"
            ),
            dim=dim,
            depth=config.get("n_encoder_layers", 4),
            decoder_depth=config.get("n_decoder_layers", 1),
            style_depth=config.get("n_vae_encoder_layers", 4),
            heads=config.get("n_heads", 8),
            horizon=config.get("chunk_size", 100),
            taken=config.get("n_action_steps", 100),
            ensemble=config.get("temporal_ensemble_coeff"),
            style_dim=config.get("latent_dim", 32),
            style_parts=("state",),
            style_weight=config.get("kl_weight", 10.0),
            feedforward=partial(
                MLP,
                hidden_dim=config.get("dim_feedforward", 3200),
                activation=ACTIVATIONS[activation],
            ),
            dropout=config.get("dropout", 0.1),
        )
        _normalise(model, _statistics(checkpoint), config.get("normalization_mapping", MODES))
        return model

    def companions(self, checkpoint: Checkpoint) -> list[str]:
        """Returns the names of the files of statistics."""
        return [] if not (checkpoint.folder / PROCESSOR).exists() else _steps(checkpoint)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        seen = getattr(model, "observation_embedding", None)
        inner = "vectors.parts" if isinstance(seen, CameraObservations) else "parts"
        return _table(f"observation_embedding.{inner}")


def _spaces(config: Mapping[str, Any], source: str) -> Spaces:
    """Returns what config.json says is seen and done, numbers first."""
    inputs, outputs = config.get("input_features") or {}, config.get("output_features") or {}
    parts: dict[str, Leaf] = {}
    for name in (STATE, ENVIRONMENT, *(name for name in inputs if name.startswith(IMAGES))):
        if name not in inputs:
            continue
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


def _statistics(checkpoint: Checkpoint) -> dict[str, Tensor]:
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


def _normalise(model: ACT, found: Mapping[str, Tensor], modes: Mapping[str, str]) -> None:
    """Gives a model the statistics of each feature, by the mode of its kind, if that has one."""
    seen = model.observation_embedding
    assert isinstance(seen.space, Dict)
    cameras = getattr(seen, "cameras", ())
    numbers = [name for name in seen.space.parts if name not in cameras]
    kinds = {name: "ENV" if name == "environment_state" else "STATE" for name in numbers}
    moments = {
        name: _moments(found, f"observation.{name}", modes.get(kinds[name], "IDENTITY"))
        for name in numbers
    }
    seen.set_moments(moments)
    if model.style_observations is not None:
        model.style_observations.set_moments({"state": moments["state"]})
    for number, name in enumerate(cameras):
        one = _moments(found, f"observation.{name}", modes.get("VISUAL", "IDENTITY"))
        assert isinstance(seen, CameraObservations)
        seen.means[number] = one.mean.flatten()
        seen.stds[number] = one.std.flatten()
    one = _moments(found, "action", modes.get("ACTION", "IDENTITY"))
    head = model.actions
    assert isinstance(head, ContinuousActions)
    mean, std = (value.expand(head.action_dim) for value in one)
    head.set_bounds(mean - std, mean + std)


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


adapter = LeRobotACT()
