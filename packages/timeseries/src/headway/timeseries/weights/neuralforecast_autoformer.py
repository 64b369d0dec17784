"""Reading Autoformer checkpoints of neuralforecast."""

import re
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import AutoCorrelation, AutoCorrelationCross
from headway.core.weights.checkpoint import Checkpoint
from headway.timeseries.models.autoformer import Autoformer
from headway.timeseries.weights.neuralforecast import INFORMER, PARTS
from headway.timeseries.weights.notes import hyper_parameters, refuse_tables

AUTOFORMER = "encoder.norm.layernorm.weight"


class AutoformerWeights:
    """Recognises an Autoformer by its norm of the season."""

    name = "neuralforecast Autoformer"
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the keys are those of an Autoformer."""
        return checkpoint.config is None and AUTOFORMER in checkpoint.state

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model at the sizes that the tensors have."""
        state, notes = checkpoint.state, hyper_parameters(checkpoint)
        refuse_tables(state, checkpoint.source)
        for name in ("input_size", "h"):
            if name not in notes:
                raise UserError(
                    f"{checkpoint.source} does not say {name} of its Autoformer, and shapes do not tell; "
                    "save it with neuralforecast's save(), which writes it down"
                )
        if notes.get("activation", "gelu") != "gelu":
            raise UserError(
                f"{checkpoint.source} was trained with activation {notes['activation']!r}, which is not "
                "read; train it with 'gelu'"
            )
        dim, variates, _ = state[INFORMER].shape
        marks = state.get("enc_embedding.temporal_embedding.embed.weight")
        dropout, length = float(notes.get("dropout", 0.05)), int(notes["input_size"])
        share = float(notes.get("decoder_input_size_multiplier", 0.5))
        options = {"factor": notes.get("factor", 3), "out_dropout": dropout}
        hidden = len(state["encoder.attn_layers.0.conv1.weight"])
        return Autoformer(
            variates=variates,
            context_length=length,
            horizon=int(notes["h"]),
            start=int(notes.get("label_len", -int(-length * share // 1))),
            dim=dim,
            depth=_number(state, "encoder.attn_layers."),
            decoder_depth=_number(state, "decoder.layers."),
            heads=int(notes.get("n_head", 4)),
            mixer=partial(AutoCorrelation, **options),
            cross=partial(AutoCorrelationCross, **options),
            feedforward=partial(MLP, hidden_dim=hidden, dropout=dropout, bias=False),
            window=int(notes.get("MovingAvg_window", 25)),
            marks=0 if marks is None else marks.shape[1],
            dropout=dropout,
        )

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors and joins the projections of an attention."""
        state, converted = dict(checkpoint.state), {}
        for ours in model.state_dict():
            theirs = to_autoformer(ours)
            if all(name in state for name in theirs):
                pieces = [state.pop(name) for name in theirs]
                value = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
                # A convolution over one step is a linear layer.
                pointwise = re.search(r"\.conv[12]\.weight$", theirs[0])
                converted[ours] = value.squeeze(-1) if pointwise else value
        return converted | state


_OUTSIDE = {
    "embedding.values": "enc_embedding.value_embedding.tokenConv",
    "embedding.marks": "enc_embedding.temporal_embedding.embed",
    "decoder_embedding.values": "dec_embedding.value_embedding.tokenConv",
    "decoder_embedding.marks": "dec_embedding.temporal_embedding.embed",
    "encoder.norm.norm": "encoder.norm.layernorm",
    "norm.norm": "decoder.norm.layernorm",
    "head": "decoder.projection",
}


def to_autoformer(name: str) -> tuple[str, ...]:
    """Returns the published names of one of our parameters; a fused projection has several."""
    part, _, kind = name.rpartition(".")
    if part in _OUTSIDE:
        return (f"{_OUTSIDE[part]}.{kind}",)
    encoder = re.match(r"encoder\.blocks\.(\d+)\.(mixer|feedforward)\.function\.(.*)", part)
    if encoder:
        layer, role, inner = f"encoder.attn_layers.{encoder[1]}", encoder[2], encoder[3]
    else:
        _, place, role, *rest = part.split(".")
        layer, inner = f"decoder.layers.{place}", ".".join(rest)
    if role == "trend":
        return (f"{layer}.projection.{kind}",)
    if role == "feedforward":
        return (f"{layer}.{inner.replace('fc', 'conv')}.{kind}",)
    own = {"mixer": "attention" if encoder else "self_attention", "cross": "cross_attention"}[role]
    if inner == "projection":
        return (f"{layer}.{own}.out_projection.{kind}",)
    return tuple(f"{layer}.{own}.{PARTS[letter]}_projection.{kind}" for letter in inner)


def _number(state: dict[str, Tensor], prefix: str) -> int:
    return len({key.split(".")[2] for key in state if key.startswith(prefix)})


adapter = AutoformerWeights()
