"""Reading policies of LeRobot: diffusion policies with a U-Net."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.generation.diffusion import CosineDiffusion
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Rule, Table, drop, own, rename, under
from headway.rl.layers import DiffusionNoising, JoinedObservations
from headway.rl.models.diffusion_unet import DiffusionUNet
from headway.rl.weights.lerobot import (
    ENVIRONMENT,
    HARMLESS,
    IMAGES,
    STATE,
    companions,
    is_policy,
    normalise,
    spaces_of,
)
from headway.rl.weights.lerobot_vq_bet import eye_of, keypoint_rules

MODES = {"VISUAL": "MEAN_STD", "STATE": "MIN_MAX", "ACTION": "MIN_MAX"}
# What config.json may say that is not read here, and the only value that is known of each.
FIXED = {
    "n_groups": 8,
    "noise_scheduler_type": "DDPM",
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "epsilon",
}
# What is not read because something else says it, or because it matters to training alone.
OTHERS = (
    *("beta_start", "beta_end", "crop_is_random", "crop_ratio", "compile_model", "compile_mode"),
    "do_mask_loss_for_padding",
)


def _block(ours: str, theirs: str) -> list[Rule]:
    return under(
        f"{ours}.",
        f"{theirs}.",
        rename("first.*", "conv1.block.*"),
        rename("modulation.1.*", "cond_encoder.1.*"),
        rename("second.*", "conv2.block.*"),
        rename("shortcut.*", "residual_conv.*"),
    )


def _eyes(separate: bool) -> list[Rule]:
    if separate:
        return keypoint_rules("observation_embedding.eyes.{n}.", "diffusion.rgb_encoder.{n}.")
    return keypoint_rules("observation_embedding.eyes.0.", "diffusion.rgb_encoder.")


def _table(separate: bool) -> Table:
    net = under(
        "actions.unet.",
        "diffusion.unet.",
        rename("step.0.*", "diffusion_step_encoder.1.*"),
        rename("step.2.*", "diffusion_step_encoder.3.*"),
        *_block("down.{n}.0", "down_modules.{n}.0"),
        *_block("down.{n}.1", "down_modules.{n}.1"),
        rename("shrink.{n}.*", "down_modules.{n}.2.*"),
        *_block("middle.{n}", "mid_modules.{n}"),
        *_block("up.{n}.0", "up_modules.{n}.0"),
        *_block("up.{n}.1", "up_modules.{n}.1"),
        rename("grow.{n}.*", "up_modules.{n}.2.*"),
        rename("last.*", "final_conv.0.block.*"),
        rename("head.*", "final_conv.1.*"),
    )
    return Table(
        drop("normalize_*", "unnormalize_*", "*num_batches_tracked"),
        _eyes(separate),
        net,
        own("actions.low", "actions.high", "actions.noising.*", "return_scale"),
        own("observation_embedding.vectors.parts.*.mean"),
        own("observation_embedding.vectors.parts.*.std"),
        own("observation_embedding.means", "observation_embedding.stds"),
    )


class LeRobotDiffusion:
    """Recognises ``type: diffusion`` in config.json, of folders with files of processors and older ones.

    Observations have the names of ``LeRobotData``; pictures are bytes with channels last. Noise is taken
    off as by a DDPM, in all steps or in evenly spaced ones; folders with another sampler are refused.
    """

    name = "LeRobot Diffusion Policy"
    defaults: ClassVar[dict[str, Any]] = FIXED
    harmless: ClassVar[tuple[str, ...]] = (*HARMLESS, *OTHERS)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a diffusion policy."""
        return is_policy(checkpoint, "diffusion", "n_action_steps")

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes, with the statistics of its processors."""
        config = checkpoint.config or {}
        # The row of what is seen has this order.
        spaces = spaces_of(config, checkpoint.source, (STATE, IMAGES, ENVIRONMENT))
        history, length = config.get("n_obs_steps", 2), config.get("horizon", 16)
        eye = partial(
            eye_of(config), resize=config.get("resize_shape"), crop=config.get("crop_shape")
        )
        model = DiffusionUNet(
            spaces=spaces.to_json(),
            observations=partial(
                JoinedObservations,
                eye=eye,
                separate=bool(config.get("use_separate_rgb_encoder_per_camera", False)),
            ),
            dim=config.get("diffusion_step_embed_dim", 128),
            widths=config.get("down_dims", (512, 1024, 2048)),
            kernel=config.get("kernel_size", 5),
            scale=bool(config.get("use_film_scale_modulation", True)),
            horizon=length - history + 1,
            taken=config.get("n_action_steps", 8),
            history=history,
            noising=_noising(config),
        )
        modes = config.get("normalization_mapping", MODES)
        normalise(model.observation_embedding, model.head, checkpoint, modes)
        return model

    def companions(self, checkpoint: Checkpoint) -> list[str]:
        """Returns the names of the files of statistics."""
        return companions(checkpoint)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        config = checkpoint.config or {}
        return _table(bool(config.get("use_separate_rgb_encoder_per_camera", False)))


def _noising(config: Mapping[str, Any]) -> partial[DiffusionNoising]:
    steps = config.get("num_train_timesteps", 100)
    made = config.get("num_inference_steps") or steps
    if not 1 <= made <= steps:
        raise UserError(f"num_inference_steps is {made}; there are {steps} of training")
    limit = config.get("clip_sample_range", 1.0) if config.get("clip_sample", True) else None
    return partial(
        DiffusionNoising,
        process=partial(CosineDiffusion, steps=steps),
        steps=made,
        eta=1.0,
        limit=limit,
        spacing="leading",
        ticks=steps,
    )


adapter = LeRobotDiffusion()
