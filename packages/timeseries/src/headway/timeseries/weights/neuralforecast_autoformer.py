"""Reading Autoformer checkpoints of neuralforecast."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import AutoCorrelation, AutoCorrelationCross
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, pointwise, rename, under
from headway.timeseries.models.autoformer import Autoformer
from headway.timeseries.weights.neuralforecast import (
    ATTENTION,
    CROSS,
    EMBEDDINGS,
    FEEDFORWARD,
    INFORMER,
)
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

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return TABLE


TABLE = Table(
    EMBEDDINGS,
    rename("encoder.norm.norm.*", "encoder.norm.layernorm.*"),
    rename("norm.norm.*", "decoder.norm.layernorm.*"),
    rename("head.*", "decoder.projection.*"),
    under(
        "encoder.blocks.{n}.",
        "encoder.attn_layers.{n}.",
        *under("mixer.function.", "attention.", *ATTENTION),
        *FEEDFORWARD,
    ),
    under(
        "decoder.{n}.",
        "decoder.layers.{n}.",
        *under("mixer.", "self_attention.", *ATTENTION),
        *under("cross.", "cross_attention.", *CROSS),
        rename("feedforward.fc1.*", "conv1.*", form=pointwise(1)),
        rename("feedforward.fc2.*", "conv2.*", form=pointwise(1)),
        rename("trend.*", "projection.*"),
    ),
)


def _number(state: dict[str, Tensor], prefix: str) -> int:
    return len({key.split(".")[2] for key in state if key.startswith(prefix)})


adapter = AutoformerWeights()
