"""Reading policies of LeRobot: action chunking with transformers."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import GELU, MLP
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, combine, drop, own, rename, under
from headway.rl.layers import CameraObservations, ContinuousActions
from headway.rl.models.act import ACT
from headway.rl.spaces import Dict
from headway.rl.weights.lerobot import (
    DEPTHS,
    HARMLESS,
    ROW,
    companions,
    is_policy,
    normalise,
    spaces_of,
)

ACTIVATIONS: dict[str, Any] = {"relu": nn.ReLU, "gelu": GELU}
# What config.json may say that is not read here, and the only value that is known of each.
FIXED = {
    "pre_norm": False,
    "use_vae": True,
    "replace_final_stride_with_dilation": False,
    "n_obs_steps": 1,
}
# How features are normalised where the file does not say.
MODES = {"VISUAL": "MEAN_STD", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"}


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
        rename("class_token", "model.vae_encoder_cls_embed.weight", form=ROW),
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
        return is_policy(checkpoint, "act", "chunk_size")

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes, with the statistics of its processors."""
        config = checkpoint.config or {}
        activation = config.get("feedforward_activation", "relu")
        network = config.get("vision_backbone", "resnet18")
        if activation not in ACTIVATIONS:
            raise UserError(
                f"the activation {activation!r} is not known; known: {', '.join(ACTIVATIONS)}"
            )
        spaces = spaces_of(config, checkpoint.source)
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
        assert isinstance(model.actions, ContinuousActions)
        modes = config.get("normalization_mapping", MODES)
        moments = normalise(model.observation_embedding, model.actions, checkpoint, modes)
        if model.style_observations is not None:
            model.style_observations.set_moments({"state": moments["state"]})
        return model

    def companions(self, checkpoint: Checkpoint) -> list[str]:
        """Returns the names of the files of statistics."""
        return companions(checkpoint)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        seen = getattr(model, "observation_embedding", None)
        inner = "vectors.parts" if isinstance(seen, CameraObservations) else "parts"
        return _table(f"observation_embedding.{inner}")


adapter = LeRobotACT()
