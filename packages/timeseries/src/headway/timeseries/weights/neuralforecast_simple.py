"""Reading DLinear, NLinear and PatchTST checkpoints of neuralforecast (and of the authors)."""

import re
from functools import partial
from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import ScoreResidualAttention, SelfAttention
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, drop, join, rename, under
from headway.timeseries.layers import AffineWindowNorm, WindowNorm
from headway.timeseries.models.dlinear import DLinear
from headway.timeseries.models.patchtst import PatchTST
from headway.timeseries.models.simple import NLinear
from headway.timeseries.weights.notes import hyper_parameters

DLINEAR, NLINEAR = "linear_trend.weight", "linear.weight"
PATCHTST = "model.backbone.W_P.weight"
REVIN = "model.revin_layer.affine_weight"
# One gain and one bias: every series is a window of its own there.
AFFINE = partial(AffineWindowNorm, variates=1)


class Linear:
    """Recognises DLinear and NLinear by the names of their layers."""

    name = "neuralforecast DLinear/NLinear"
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether there are the linear layers and nothing else."""
        if checkpoint.config is not None:
            return False
        layers = {key.rpartition(".")[0] for key in checkpoint.state}
        return layers in ({"linear_trend", "linear_season"}, {"linear"})

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model at the sizes that the tensors have."""
        state = checkpoint.state
        horizon, length = state[DLINEAR if DLINEAR in state else NLINEAR].shape
        if DLINEAR not in state:
            return NLinear(context_length=length, horizon=horizon)
        window = hyper_parameters(checkpoint).get("moving_avg_window", 25)
        return DLinear(context_length=length, horizon=horizon, window=window)

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _LINEAR


class PatchTSTWeights:
    """Recognises a PatchTST by the projection of its patches."""

    name = "neuralforecast PatchTST"
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the keys are those of the authors' backbone."""
        return checkpoint.config is None and PATCHTST in checkpoint.state

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model at the sizes that the tensors have."""
        state, notes = checkpoint.state, hyper_parameters(checkpoint)
        heads = overrides.pop("heads", None) or notes.get("n_heads")
        if heads is None or "input_size" not in notes:
            raise UserError(
                f"{checkpoint.source} does not say n_heads and input_size of its PatchTST, and shapes do "
                "not tell; save it with neuralforecast's save(), which writes them down"
            )
        for name, value in (
            ("revin", True),
            ("batch_normalization", False),
        ):
            if notes.get(name, value) != value:
                raise UserError(
                    f"{checkpoint.source} was trained with {name}={notes[name]}, which PatchTST here does "
                    f"not have; train it with {name}={value}"
                )
        dim, patch = state[PATCHTST].shape
        _refuse_scale(checkpoint, (dim / int(heads)) ** -0.5)
        dropout = float(notes.get("dropout", 0.0))
        # The output of attention is dropped twice there.
        options = {
            "dropout": float(notes.get("attn_dropout", 0.0)),
            "out_dropout": 1 - (1 - dropout) ** 2,
        }
        scores = notes.get("res_attention", True)
        hidden = len(state["model.backbone.encoder.layers.0.ff.0.weight"])
        return PatchTST(
            context_length=int(notes["input_size"]),
            horizon=len(state["model.head.linear.weight"]),
            dim=dim,
            depth=1 + max(int(found[1]) for key in state if (found := _LAYER.match(key))),
            heads=int(heads),
            patch=patch,
            stride=int(notes.get("stride", 8)),
            mixer=partial(ScoreResidualAttention if scores else SelfAttention, **options),
            feedforward=partial(MLP, hidden_dim=hidden, dropout=dropout),
            centre="last" if notes.get("revin_subtract_last") else "mean",
            normalization=AFFINE if REVIN in state else WindowNorm,
            dropout=dropout,
            head_dropout=float(notes.get("head_dropout", 0.0)),
        )

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return PATCHTST_TABLE


def _refuse_scale(checkpoint: Checkpoint, usual: float) -> None:
    """Raises if scores of attention are not scaled by the width of a head; there the scale is a parameter."""
    for name, value in checkpoint.state.items():
        if name.endswith("sdp_attn.scale") and abs(float(value) - usual) > 1e-6 * usual:
            raise UserError(
                f"{checkpoint.source} scales the scores of attention by {float(value):.6g} ({name}), "
                f"PatchTST here by {usual:.6g}; multiply W_Q by their ratio first"
            )


_LAYER = re.compile(r"model\.backbone\.encoder\.layers\.(\d+)\.")
_LINEAR = Table(
    rename("trend.*", "linear_trend.*"),
    rename("season.*", "linear_season.*"),
    rename("head.*", "linear.*"),
)
PATCHTST_TABLE = Table(
    rename("normalization.gain", REVIN),
    rename("normalization.bias", "model.revin_layer.affine_bias"),
    rename("position", "model.backbone.W_pos"),
    rename("embedding.*", "model.backbone.W_P.*"),
    rename("head.*", "model.head.linear.*"),
    under(
        "encoder.blocks.{n}.",
        "model.backbone.encoder.layers.{n}.",
        join("mixer.function.qkv.*", [f"self_attn.W_{part}.*" for part in "QKV"]),
        rename("mixer.function.projection.*", "self_attn.to_out.0.*"),
        rename("mixer.norm.*", "norm_attn.1.*"),
        rename("feedforward.function.fc1.*", "ff.0.*"),
        rename("feedforward.function.fc2.*", "ff.3.*"),
        rename("feedforward.norm.*", "norm_ffn.1.*"),
        # A parameter that never learns; ``_refuse_scale`` has looked at it.
        drop("self_attn.sdp_attn.scale"),
    ),
)


linear = Linear()
patchtst = PatchTSTWeights()
