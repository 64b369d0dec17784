"""Reading Roboflow's own files of RF-DETR: tensors, and beside them what the program was told."""

import math
import re
from typing import Any, ClassVar

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table
from headway.vision.weights.hugging_face_rf_detr import TABLE, build

_FRONT = "backbone.0.encoder.encoder."
_KEYS = (
    "refpoint_embed.weight",
    "query_feat.weight",
    "class_embed.weight",
    f"{_FRONT}layernorm.weight",
)
# What every published RF-DETR is; one that is not would be another model.
_ALWAYS = {
    "two_stage": True,
    "bbox_reparam": True,
    "lite_refpoint_refine": True,
    "layer_norm": True,
}
_NEEDED = (
    "num_windows",
    "out_feature_indexes",
    "num_queries",
    "sa_nheads",
    "ca_nheads",
    "dec_n_points",
)


class RoboflowRFDETR:
    """Recognises the names of the tensors, where there is no config.json."""

    name = "RF-DETR of its authors"
    defaults: ClassVar[dict[str, Any]] = {}
    may_miss: tuple[str, ...] = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the tensors are those of an RF-DETR."""
        return checkpoint.config is None and all(key in checkpoint.state for key in _KEYS)

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that the arguments and the shapes of the tensors tell."""
        return build(checkpoint, _config(checkpoint))

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return TABLE


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what a file says in the words of transformers' configuration.

    Raises:
        UserError: If it does not say what shapes cannot tell, or is no published kind.
    """
    args, state, source = checkpoint.arguments, checkpoint.state, checkpoint.source
    missing = [name for name in _NEEDED if args.get(name) is None]
    if missing:
        raise UserError(
            f"{source} does not say its {missing[0]} (args beside the tensors); give the file as it was "
            "trained or published, or a folder of transformers"
        )
    for name, wanted in _ALWAYS.items():
        if args.get(name, wanted) != wanted:
            raise UserError(
                f"{source} has {name}={args[name]}; only RF-DETRs with {wanted} are read"
            )
    scales = args.get("projector_scale", ["P4"])
    if list(scales) != ["P4"]:
        raise UserError(f"{source} has maps of projector_scale={scales}; only ['P4'] is read")
    table = state[f"{_FRONT}embeddings.position_embeddings"]
    cut = state[f"{_FRONT}embeddings.patch_embeddings.projection.weight"]
    layer = f"{_FRONT}encoder.layer"
    dim, patch = cut.shape[0], cut.shape[-1]
    side = math.isqrt(table.shape[1] - 1) * patch
    queries = int(args["num_queries"])
    return {
        "backbone_config": {
            "hidden_size": dim,
            "num_hidden_layers": _count(state, layer),
            # DINOv2 has heads of 64 channels, whatever its size.
            "num_attention_heads": max(1, dim // 64),
            "mlp_ratio": state[f"{layer}.0.mlp.fc1.weight"].shape[0] / dim,
            "patch_size": patch,
            "image_size": side,
            "num_channels": cut.shape[1],
            "num_windows": int(args["num_windows"]),
            "out_indices": list(args["out_feature_indexes"]),
        },
        # Theirs has 1e-6 there, transformers 1e-5.
        "layer_norm_eps": 1e-6,
        "c2f_num_blocks": _count(state, "backbone.0.projector.stages.0.0.m"),
        "d_model": state["query_feat.weight"].shape[1],
        "num_queries": queries,
        "group_detr": len(state["refpoint_embed.weight"]) // queries,
        "decoder_layers": int(args.get("dec_layers", 3)),
        "decoder_self_attention_heads": int(args["sa_nheads"]),
        "decoder_cross_attention_heads": int(args["ca_nheads"]),
        "decoder_n_points": int(args["dec_n_points"]),
        "decoder_ffn_dim": state["transformer.decoder.layers.0.linear1.weight"].shape[0],
        "dropout": float(args.get("dropout", 0.0)),
        "resolution": int(args.get("resolution") or side),
        "id2label": _names(args, len(state["class_embed.weight"])),
    }


def _count(state: dict[str, Tensor], front: str) -> int:
    """Returns how many parts have numbers behind this name."""
    found = (re.match(rf"{re.escape(front)}\.(\d+)\.", name) for name in state)
    return 1 + max((int(match.group(1)) for match in found if match), default=-1)


def _names(args: dict[str, Any], slots: int) -> dict[str, str]:
    """Returns the name of each place of the logits; places that no class has are N/A.

    Places are the ids of the annotations, which begin with 1 in COCO's format and with 0 in YOLO's, and the
    last one behind ``num_classes`` stands for no object.
    """
    known = args.get("class_names")
    if not known:
        return {}
    first = 0 if args.get("dataset_file") == "yolo" else 1
    named = known if isinstance(known, dict) else dict(enumerate(known, first))
    return {str(place): str(named.get(place, "N/A")) for place in range(slots)}


adapter = RoboflowRFDETR()
