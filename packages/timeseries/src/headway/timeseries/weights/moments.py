"""Building the model of a checkpoint with one token for each moment: Informer or transformer."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import (
    CrossAttention,
    ProbSparseAttention,
    ProbSparseCrossAttention,
    SelfAttention,
)
from headway.core.resample import Distilling
from headway.timeseries.layers import SeriesEmbedding
from headway.timeseries.models.informer import Informer
from headway.timeseries.models.transformer import Transformer
from headway.timeseries.weights.notes import refuse_tables

VALUES = "enc_embedding.value_embedding.tokenConv"


def build_moments(
    state: dict[str, Tensor], notes: dict[str, Any], heads: int, depth: int, source: str
) -> nn.Module:
    """Builds the model that a checkpoint was made for.

    Two kinds of published Informers differ in more than names: that of the authors (``informer2020``;
    told by the bias of its embedding) and its port in Time-Series-Library and neuralforecast.

    Args:
        state: Tensors under their published names.
        notes: What ``hyper_parameters`` found.
        heads: Heads of the mixers.
        depth: Blocks of the encoder.
        source: Named in messages.

    Raises:
        UserError: If lengths are not known, or moments are embedded by tables.
    """
    for name in ("input_size", "h"):
        if name not in notes:
            raise UserError(
                f"{source} does not say {name} of its model, and shapes do not tell; save it with "
                "neuralforecast's save(), which writes it down, or leave checkpoint.pth in the folder "
                "that the authors' script made (.._sl96_ll48_pl24_..)"
            )
    refuse_tables(state, source)
    dim, variates, _ = state[f"{VALUES}.weight"].shape
    marks = state.get("enc_embedding.temporal_embedding.embed.weight")
    dropout = float(notes.get("dropout", 0.05))
    context_length = int(notes["input_size"])
    share = float(notes.get("decoder_input_size_multiplier", 0.5))
    layers = {key.split(".")[2] for key in state if key.startswith("decoder.layers.")}
    hidden = len(state["encoder.attn_layers.0.conv1.weight"])
    original = f"{VALUES}.bias" in state
    sizes: dict[str, Any] = {
        "variates": variates,
        "context_length": context_length,
        "horizon": int(notes["h"]),
        "start": int(notes.get("label_len", -int(-context_length * share // 1))),
        "dim": dim,
        "depth": depth,
        "decoder_depth": len(layers),
        "heads": heads,
        "feedforward": partial(MLP, hidden_dim=hidden, dropout=dropout),
        "embedding": partial(SeriesEmbedding, bias=original),
        "marks": 0 if marks is None else marks.shape[1],
        "dropout": dropout,
    }
    distils = any(key.startswith("encoder.conv_layers.") for key in state)
    if original:
        sizes["distilling"] = Distilling if distils else None
        return _informer2020(sizes, notes)
    if "factor" not in notes:
        return _transformer(sizes, scripted="label_len" in notes)
    sizes["distilling"] = partial(Distilling, padding=2) if distils else None
    return _port(sizes, notes)


def _transformer(sizes: dict[str, Any], *, scripted: bool) -> Transformer:
    dense = partial(SelfAttention, dropout=sizes["dropout"], out_dropout=sizes["dropout"])
    return Transformer(
        **sizes,
        mixer=dense,
        # neuralforecast asks for a causal mask that its attention then leaves out.
        decoder_mixer=partial(dense, causal=True) if scripted else dense,
        cross=_dense_cross(sizes["dropout"]),
    )


def _informer2020(sizes: dict[str, Any], notes: dict[str, Any]) -> Informer:
    """Dense attention to the encoder; heads are mixed in the decoder's own attention alone."""
    dropout = sizes["dropout"]
    if "factor" not in notes:
        if notes["mix"]:
            raise UserError(
                "an Informer with dense attention that mixes heads (attn='full', mix) is not read"
            )
        dense = partial(SelfAttention, dropout=dropout, out_dropout=dropout)
        mixers: dict[str, Any] = {"mixer": dense, "decoder_mixer": partial(dense, causal=True)}
    else:
        sparse = partial(ProbSparseAttention, factor=notes["factor"], out_dropout=dropout)
        mixers = {
            "mixer": sparse,
            "decoder_mixer": partial(sparse, causal=True, mix_heads=notes["mix"]),
        }
    return Informer(**sizes, **mixers, cross=_dense_cross(dropout))


def _port(sizes: dict[str, Any], notes: dict[str, Any]) -> Informer:
    """ProbSparse attention to the encoder, too; heads are mixed everywhere."""
    options: dict[str, Any] = {
        "factor": notes["factor"],
        "mix_heads": True,
        "out_dropout": sizes["dropout"],
    }
    return Informer(
        **sizes,
        mixer=partial(ProbSparseAttention, **options),
        decoder_mixer=partial(ProbSparseAttention, causal=True, **options),
        cross=partial(ProbSparseCrossAttention, **options),
    )


def _dense_cross(dropout: float) -> Any:
    return partial(CrossAttention, dropout=dropout, out_dropout=dropout)
