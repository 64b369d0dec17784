"""Reading timm's ViT checkpoints, and the official ones of DeiT and DINOv2, which share their names."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.vision.models.families import Row
from headway.vision.models.vit_variants import VIT
from headway.vision.weights.timm import TimmFamily, patch_of, refuse_arguments

# timm's words for what is read from the result.
POOLINGS = {"token": "token", "avg": "average", "map": "attention"}


class TimmViT(TimmFamily):
    """Recognises ``architecture`` in config.json, or the names of the parameters."""

    may_miss = ("head.classifier.", "distillation_classifier.")

    def guess(self, checkpoint: Checkpoint) -> Row:
        """Returns the row whose numbers agree with the shapes."""
        return _guess(checkpoint)

    def as_configured(
        self, row: Row, config: Mapping[str, Any], state: Mapping[str, Tensor], source: str
    ) -> Row:
        """Returns the row as ``model_args`` and ``global_pool`` of config.json change it.

        What shapes cannot tell is read (heads, pooling) or refused; the rest is seen in the tensors, which
        the model built from the row must fit.
        """
        args = dict(config.get("model_args") or {})
        pooling = config.get("global_pool")
        pooling = args.pop("global_pool", pooling)
        found = dict(row)
        if "num_heads" in args:
            found["heads"] = str(args.pop("num_heads"))
        if args:
            told = {"dim", "depth", "hidden", "registers", "prefix", "qkv_bias", "qk_norm"}
            found.update({key: value for key, value in _seen(state).items() if key in told})
            if ("blocks.0.ls1.gamma" in state) != (row["layer_scale"] != "-"):
                found["layer_scale"] = "1.0" if "blocks.0.ls1.gamma" in state else "-"
            args.pop("qk_norm", None)
        refuse_arguments(args, source)
        own, _, _ = row["pooling"].partition("+")
        if pooling is not None and POOLINGS.get(pooling) != own:
            if pooling not in ("token", "avg"):
                raise UserError(
                    f"{source}: config.json says global_pool={pooling!r}, which is not read for "
                    f"{row['name']}; token and avg are"
                )
            found["pooling"] = POOLINGS[pooling]
        if "head.weight" in state or pooling is not None:
            # The norm stands behind an average, or at the end of the blocks: its name tells.
            found["pool_norm"] = str(int("fc_norm.weight" in state))
            found["final_norm"] = str(int("norm.weight" in state))
        return found

    def sizes(
        self, row: Row, state: Mapping[str, Tensor], wanted: tuple[int, int]
    ) -> dict[str, Any]:
        """Returns the patch, and the image size that the position embeddings are made for."""
        if "pos_embed" not in state:
            return {"patch_size": patch_of(state)}
        return super().sizes(row, state, wanted)

    def in_front(self, row: Row) -> int:
        """Returns how many tokens that are no patches have a place in the table of positions."""
        if row["pos_prefix"] != "1":
            return 0
        kinds = sum(kind in row["prefix"] for kind in ("class", "distillation"))
        return kinds + int(row["registers"])


def _seen(state: Mapping[str, Tensor]) -> Row:
    """Returns the columns that shapes tell; heads cannot be seen in them."""
    blocks = {int(name.split(".")[1]) for name in state if name.startswith("blocks.")}
    fc2 = state.get("blocks.0.mlp.fc2.weight", state.get("blocks.0.mlp.w3.weight"))
    kinds_in_front = (("class", "cls_token"), ("distillation", "dist_token"))
    return {
        "dim": str(len(state["patch_embed.proj.weight"])),
        "depth": str(len(blocks)),
        "patch": str(state["patch_embed.proj.weight"].shape[-1]),
        "hidden": str(fc2.shape[1]) if fc2 is not None else "",
        "registers": str(state["reg_token"].shape[1]) if "reg_token" in state else "0",
        "prefix": "+".join(kind for kind, name in kinds_in_front if name in state) or "-",
        "pool_norm": str(int("fc_norm.weight" in state)),
        "final_norm": str(int("norm.weight" in state)),
        "qkv_bias": str(int("blocks.0.attn.qkv.bias" in state)),
        "pre_norm": "tokens" if "norm_pre.weight" in state else "-",
        "qk_norm": str(int("blocks.0.attn.q_norm.weight" in state)),
    }  # fmt: skip


def _guess(checkpoint: Checkpoint) -> Row:
    """Returns the row whose numbers agree with the shapes."""
    state = checkpoint.state
    seen = _seen(state)
    scaled = "blocks.0.ls1.gamma" in state
    rows = [
        row
        for row in VIT.rows().values()
        if all(row.get(key, "0") == value for key, value in seen.items())
        and (row["layer_scale"] != "-") == scaled
        and ("attn_pool.latent" in state) == row["pooling"].startswith("attention")
    ]
    # Rows that differ only in how pictures are prepared, or in the size they were trained at, build
    # the same model.
    same = ("heads", "norm", "feedforward", "block", "pooling", "pos_prefix")
    kinds = {tuple(row[key] for key in same) for row in rows}
    if len(kinds) != 1:
        names = ", ".join(row["name"] for row in rows[:8]) or "no architecture"
        raise UserError(
            f"{checkpoint.source} has no config.json, and its shapes fit {names}; "
            "name one with architecture=..."
        )
    return rows[0]
