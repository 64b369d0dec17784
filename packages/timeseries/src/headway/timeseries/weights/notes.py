"""What a checkpoint says about how its model was built, beside the shapes of its tensors."""

import json
import re
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint

# Names of neuralforecast for what the folders of the authors' scripts are called by.
SETTINGS = {
    "sl": "input_size",
    "ll": "label_len",
    "pl": "h",
    "nh": "n_head",
    "at": "attention",
    "fc": "factor",
    "eb": "embed",
    "mx": "mix",
}


def hyper_parameters(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what the file says about how its model was built, or else what its folder is called by.

    Args:
        checkpoint: A file of neuralforecast, or ``checkpoint.pth`` of a script in the folder in which the
            script put it.
    """
    return _written(checkpoint) or _setting(checkpoint.folder.name)


def _written(checkpoint: Checkpoint) -> dict[str, Any]:
    if len(checkpoint.files) != 1:
        return {}
    try:
        with safe_open(checkpoint.files[0], framework="pt") as file:
            return json.loads((file.metadata() or {}).get("hyper_parameters", "{}"))
    except (SafetensorError, OSError, ValueError):
        pass
    content = torch.load(checkpoint.files[0], map_location="cpu", weights_only=True)
    notes = content.get("hyper_parameters", {}) if isinstance(content, dict) else {}
    return notes if isinstance(notes, dict) else {}


def _setting(folder: str) -> dict[str, Any]:
    """Reads a name such as ``informer_ETTh1_ftM_sl96_ll48_pl24_dm512_nh8_..._atprob_fc5_ebtimeF_...``."""
    found = dict(re.findall(r"_(sl|ll|pl|nh|at|fc|eb|mx)([A-Za-z0-9]+)(?=_|$)", folder))
    if not {"sl", "ll", "pl", "nh"} <= found.keys():
        return {}
    notes: dict[str, Any] = {
        SETTINGS[key]: int(value) if value.isdigit() else value for key, value in found.items()
    }
    notes["mix"] = notes.get("mix", "True") == "True"
    if "_Transformer_" in folder or notes.get("attention", "prob") != "prob":
        # Dense attention has no factor, whatever the script was called with.
        del notes["factor"]
    return notes


def refuse_tables(state: dict[str, Tensor], source: str) -> None:
    """Raises if moments are embedded by tables of hours and days instead of a linear layer.

    Args:
        state: Tensors under their published names.
        source: Named in the message.
    """
    if any(key.startswith("enc_embedding.temporal_embedding.hour_embed") for key in state):
        raise UserError(
            f"{source} embeds moments by tables, which is not read; train it with embed='timeF'"
        )
