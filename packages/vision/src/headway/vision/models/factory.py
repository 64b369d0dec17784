"""``create_model`` and ``list_models``, as timm's users know them."""

import difflib
import fnmatch
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.vision.models.cait import CAIT
from headway.vision.models.features import Features
from headway.vision.models.hiera_variants import HIERA
from headway.vision.models.pit import PIT
from headway.vision.models.poolformer import POOLFORMER
from headway.vision.models.segformer import SIZES, mix_transformer, segformer
from headway.vision.models.swin_v2_variants import SWIN_V2
from headway.vision.models.swin_variants import SWIN
from headway.vision.models.vit_variants import VIT

# SegFormer and its encoders, under the names of their paper; timm has neither.
_MIX: dict[str, Callable[..., nn.Module]] = {
    **{f"segformer_{size}": partial(segformer, size) for size in SIZES},
    **{f"mit_{size}": partial(mix_transformer, size) for size in SIZES},
}

# Every family of published image classifiers: what is listed, created, loaded and tried follows from here.
FAMILIES = (VIT, SWIN, SWIN_V2, HIERA, PIT, POOLFORMER, CAIT)


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Returns the names of the models that match a shell pattern.

    Args:
        pattern: Such as ``"deit3_*"``.
        pretrained: Whether to return ``name.tag`` of those with published weights only.
    """
    names = [
        f"{row['name']}.{row['tag']}" if pretrained else row["name"]
        for family in FAMILIES
        for row in family.rows().values()
        if not pretrained or row["tag"] != "-"
    ]
    names += [] if pretrained else list(_MIX)
    return sorted(fnmatch.filter(names, pattern))


def create_model(
    name: str,
    pretrained: bool = False,
    *,
    num_classes: int | None = None,
    in_chans: int = 3,
    img_size: int | Sequence[int] | None = None,
    patch_size: int | None = None,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    global_pool: str | None = None,
    dynamic_img_size: bool = True,
    checkpoint_path: str | Path | None = None,
    features_only: bool = False,
    out_indices: Sequence[int] | None = None,
    class_token: bool | None = None,
    reg_tokens: int | None = None,
    qk_norm: bool | None = None,
    init_values: float | None = None,
    **others: Any,
) -> nn.Module:
    """Builds a model by timm's name, with or without weights.

    Args:
        name: ``architecture`` or ``architecture.tag``; see ``list_models``.
        pretrained: Whether to load the published weights from the hub (``timm/name.tag``).
        num_classes: Classes; as published if None, 0 for pooled features.
        in_chans: Channels of a picture.
        img_size: Side or (height, width) in pixels; as published if None.
        patch_size: Side of a patch in pixels; as published if None.
        drop_rate: Probability of dropping a channel before the classifier.
        drop_path_rate: Rate of stochastic depth of the last block.
        global_pool: "token" or "avg" for a ViT; as published if None. An average is then normalised behind
            the pooling, as in timm. Published weights keep theirs: ``reset_classifier`` of a model that has
            them takes another.
        dynamic_img_size: True, for timm's callers: pictures of any size will do.
        checkpoint_path: A file or folder to load weights from.
        features_only: Whether to return a model of feature maps.
        out_indices: Which blocks or stages give feature maps; the last three if None.
        class_token: Whether a class token comes first; as published if None, and so are the next three.
        reg_tokens: Register tokens.
        qk_norm: Whether queries and keys are normalised within each head.
        init_values: Where a learned scale of each branch starts.
        **others: Further arguments of timm's models: refused by name, unless they are None.

    Raises:
        UserError: If there is no model of that name (the message lists the nearest ones), or if it cannot be
            built as asked.
    """
    architecture, _, tag = name.partition(".")
    if architecture in _MIX:
        return _mix(
            architecture,
            {
                "pretrained": pretrained or None,
                "img_size": img_size,
                "patch_size": patch_size,
                "drop_rate": drop_rate or None,
                "global_pool": global_pool,
                "checkpoint_path": checkpoint_path,
                "features_only": features_only or None,
                **others,
            },
            num_classes=num_classes,
            channels=in_chans,
            drop_path=drop_path_rate,
        )
    family = next((family for family in FAMILIES if architecture in family.rows()), None)
    if family is None:
        near = difflib.get_close_matches(architecture, list_models(), n=3, cutoff=0.5)
        raise UserError(
            f"there is no model {architecture!r}; "
            + (f"did you mean {', '.join(near)}?" if near else "see headway ls models")
        )
    words = {"class_token": class_token, "reg_tokens": reg_tokens, "qk_norm": qk_norm,
             "init_values": init_values, **others}  # fmt: skip
    wanted = [word for word, value in words.items() if value is not None]
    row = family.reworded(family.rows()[architecture], words)
    if wanted and (pretrained or checkpoint_path is not None):
        raise UserError(
            f"{wanted[0]} changes the parts of {architecture}, which published weights do not fit; "
            "from_pretrained reads a file that was trained so"
        )
    if not dynamic_img_size:
        raise UserError("dynamic_img_size=False: models of headway take pictures of any size")
    size = tuple(img_size) if isinstance(img_size, Sequence) else img_size
    options: dict[str, Any] = {
        "num_classes": num_classes,
        "channels": in_chans,
        "image_size": size,
        "patch_size": patch_size,
        "dropout": drop_rate,
        "drop_path": drop_path_rate,
    }
    if row.get("prefix") == "-" and row.get("pooling") == "token" and global_pool != "avg":
        raise UserError(f"{architecture} without a class token needs global_pool='avg'")
    model = family.build(row, **options)
    if global_pool not in (None, model.global_pool):
        if pretrained or checkpoint_path is not None or global_pool not in family.pooled:
            known = [model.global_pool, *(() if pretrained or checkpoint_path else family.pooled)]
            raise UserError(
                f"{architecture} is not built with global_pool={global_pool!r}; known here: "
                f"{', '.join(dict.fromkeys(known))}; reset_classifier of a loaded model takes others"
            )
        model = family.build({**row, **family.pooled[global_pool]}, **options)
        if model.global_pool != global_pool or (
            global_pool == "token" and not getattr(model, "num_prefix_tokens", 0)
        ):
            raise UserError(f"{architecture} has no token or pooling for {global_pool!r}")
    if tag:
        model.pretrained_cfg = {**model.pretrained_cfg, "tag": tag}
    if pretrained or checkpoint_path is not None:
        # Loading belongs to a floor above the models and is needed here only on demand.
        from headway.vision.models.pretrained import load_into

        tag = tag or row["tag"]
        if checkpoint_path is None and tag == "-":
            raise UserError(f"{architecture} has no published weights; use pretrained=False")
        load_into(model, checkpoint_path or f"timm/{architecture}.{tag}")
    return Features(model, out_indices) if features_only else model


def _mix(architecture: str, refused: dict[str, Any], **options: Any) -> nn.Module:
    """Builds a SegFormer or an encoder of it."""
    wanted = [word for word, value in refused.items() if value is not None]
    if wanted:
        raise UserError(
            f"{wanted[0]} is not for {architecture}; from_pretrained reads published weights "
            f"(nvidia/{architecture.replace('_', '-')} and its siblings)"
        )
    return _MIX[architecture](**{k: v for k, v in options.items() if v is not None})
