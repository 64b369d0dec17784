"""Reading policies of LeRobot: VQ-BeT."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.mixers import SelfAttention
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import (
    Reshaped,
    Rule,
    Table,
    combine,
    drop,
    own,
    rename,
    under,
)
from headway.rl.layers import CameraKeypoints, CodesAndOffsets, KeypointObservations
from headway.rl.layers.observations.keypoints import GroupsOf16
from headway.rl.models.vq_bet import VQBeT
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

MODES = {"VISUAL": "IDENTITY", "STATE": "MIN_MAX", "ACTION": "MIN_MAX"}
TRAINING = ("crop_is_random", "optimizer_vqvae_lr", "optimizer_vqvae_weight_decay")
_TOKEN = Reshaped(lambda value: value[0, 0], lambda value: value[None, None])


def keypoint_rules(ours: str, theirs: str) -> list[Rule]:
    """Returns the rules of what looks: a network whose modules are counted, keypoints, and a linear layer."""
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    return under(
        ours,
        theirs,
        *(rename(f"backbone.{name}.*", f"backbone.{place}.*") for name, place in places.items()),
        rename("pool.look.*", "pool.nets.*"),
        rename("out.*", "out.*"),
        drop("pool.pos_grid"),
    )


def eye_of(config: Any) -> partial[CameraKeypoints]:
    """Returns what builds the network that config.json describes.

    Raises:
        UserError: If it is not known.
    """
    network = config.get("vision_backbone", "resnet18")
    if network not in DEPTHS:
        raise UserError(f"vision_backbone is {network!r}; known: {', '.join(DEPTHS)}")
    grouped = config.get("use_group_norm", True)
    return partial(
        CameraKeypoints,
        depths=DEPTHS[network],
        keypoints=config.get("spatial_softmax_num_keypoints", 32),
        norm=GroupsOf16 if grouped else nn.BatchNorm2d,
    )


def _table(sequential: bool) -> Table:
    word = "map_to_cbet_preds_{}.0.*"
    heads = {"0": "primary_bin", "1": "secondary_bin"} if sequential else {"0": "bin"}
    machine = "action_head.vqvae_model."
    settled = combine(
        ["actions.settled"],
        [f"{machine}discretized", f"{machine}vq_layer.freeze_codebook"],
        read=lambda done, _: done,
        write=lambda done: (done, done.clone()),
    )
    book = f"{machine}vq_layer.layers.{{n}}._codebook."
    inner = under(
        "",
        "vqbet.",
        *keypoint_rules("observation_embedding.eye.", "rgb_encoder."),
        rename("observation_embedding.projection.*", "rgb_feature_projector.0.*"),
        rename("observation_embedding.vectors.parts.state.linear.*", "state_projector.0.*"),
        rename("query", "action_token", form=_TOKEN),
        rename("entrance.*", "policy.transformer.wte.*"),
        rename("places", "policy.transformer.wpe.weight"),
        drop("policy.transformer.h.*.attn.bias", "select_target_actions_indices"),
        *under(
            "decoder.blocks.{n}.",
            "policy.transformer.h.{n}.",
            rename("mixer.norm.*", "ln_1.*"),
            rename("mixer.function.qkv.*", "attn.c_attn.*"),
            rename("mixer.function.projection.*", "attn.c_proj.*"),
            rename("feedforward.norm.*", "ln_2.*"),
            rename("feedforward.function.fc1.*", "mlp.0.*"),
            rename("feedforward.function.fc2.*", "mlp.2.*"),
        ),
        rename("decoder.norm.*", "policy.transformer.ln_f.*"),
        rename("exit.*", "policy.lm_head.*"),
        settled,
        rename("actions.encoder.*", f"{machine}encoder.*"),
        rename("actions.decoder.*", f"{machine}decoder.*"),
        rename("actions.quantizer.layers.{n}.words", f"{book}embed", form=ROW),
        rename("actions.quantizer.layers.{n}.sums", f"{book}embed_avg", form=ROW),
        rename("actions.quantizer.layers.{n}.counts", f"{book}cluster_size", form=ROW),
        drop(f"{machine}vq_layer.layers.*._codebook.initted"),
        *(
            rename(f"actions.heads.{level}.*", f"action_head.{word.format(name)}")
            for level, name in heads.items()
        ),
        rename("actions.offset.*", f"action_head.{word.format('offset')}"),
    )
    return Table(
        drop("normalize_*", "unnormalize_*", "*num_batches_tracked"),
        inner,
        own("actions.low", "actions.high", "actions.updates", "actions.embedding.*"),
        own("observation_embedding.vectors.parts.*.mean"),
        own("observation_embedding.vectors.parts.*.std"),
        own("observation_embedding.means", "observation_embedding.stds", "return_scale"),
    )


class LeRobotVQBeT:
    """Recognises ``type: vqbet`` in config.json, of folders with files of processors and older ones.

    Observations have the names of ``LeRobotData``; pictures are bytes with channels last. There words that
    nobody has ever chosen can be chosen; here they are none (``VectorQuantizer``), which matters to what is
    learned on, not to what is played.
    """

    name = "LeRobot VQ-BeT"
    defaults: ClassVar[dict[str, Any]] = {"n_vqvae_training_steps": 20000}
    harmless: ClassVar[tuple[str, ...]] = (*HARMLESS, *TRAINING)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of VQ-BeT."""
        return is_policy(checkpoint, "vqbet", "action_chunk_size")

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes, with the statistics of its processors."""
        config = checkpoint.config or {}
        spaces = spaces_of(config, checkpoint.source)
        assert isinstance(spaces.observation, Dict)
        names = set(spaces.observation.parts)
        if "state" not in names or len(names) != 2 or "environment_state" in names:
            raise UserError(f"VQ-BeT sees one camera and observation.state; got {sorted(names)}")
        dim = config.get("gpt_input_dim", 512)
        said = config.get("gpt_output_dim", 512)
        if said != dim:
            raise UserError(
                f"gpt_input_dim is {dim} and gpt_output_dim {said}; equal ones are known"
            )
        dropout = float(config.get("dropout", 0.1))
        weights = [
            float(config.get(f"{level}_code_loss_weight", plain))
            for level, plain in (("primary", 5.0), ("secondary", 0.5))
        ]
        model = VQBeT(
            spaces=spaces.to_json(),
            observations=partial(
                KeypointObservations,
                eye=partial(eye_of(config), crop=config.get("crop_shape", (84, 84))),
            ),
            actions=partial(
                CodesAndOffsets,
                words=config.get("vqvae_n_embed", 16),
                code_dim=config.get("vqvae_embedding_dim", 256),
                hidden_dim=config.get("vqvae_enc_hidden_dim", 128),
                autoencoder_steps=config.get("n_vqvae_training_steps", 20000),
                code_weights=weights,
                offset_weight=float(config.get("offset_loss_weight", 10000.0)),
                temperature=float(config.get("bet_softmax_temperature", 0.1)),
                sequential=bool(config.get("sequentially_select", False)),
            ),
            dim=dim,
            width=config.get("gpt_hidden_dim", 512),
            depth=config.get("gpt_n_layer", 8),
            heads=config.get("gpt_n_head", 8),
            horizon=config.get("action_chunk_size", 5),
            history=config.get("n_obs_steps", 5),
            ahead=config.get("n_action_pred_token", 3) - 1,
            positions=config.get("gpt_block_size", 500),
            mixer=partial(SelfAttention, causal=True, dropout=dropout, out_dropout=dropout),
            dropout=dropout,
        )
        modes = config.get("normalization_mapping", MODES)
        normalise(model.observation_embedding, model.head, checkpoint, modes)
        return model

    def companions(self, checkpoint: Checkpoint) -> list[str]:
        """Returns the names of the files of statistics."""
        return companions(checkpoint)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _table(bool((checkpoint.config or {}).get("sequentially_select", False)))


adapter = LeRobotVQBeT()
