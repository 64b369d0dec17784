"""Reading iTransformer, Informer and VanillaTransformer checkpoints of neuralforecast (and thuml's)."""

import json
import re
from functools import partial
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import (
    CrossAttention,
    ProbSparseAttention,
    ProbSparseCrossAttention,
    SelfAttention,
)
from headway.core.norms import LayerNorm
from headway.core.resample import Distilling
from headway.core.weights.checkpoint import Checkpoint
from headway.timeseries.models.informer import Informer
from headway.timeseries.models.itransformer import ITransformer
from headway.timeseries.models.transformer import Transformer

ITRANSFORMER = "enc_embedding.value_embedding.weight"
INFORMER = "enc_embedding.value_embedding.tokenConv.weight"
PARTS = {"q": "query", "k": "key", "v": "value"}


class NeuralForecast:
    """Recognises the names of the parameters."""

    name = "neuralforecast iTransformer/Informer/VanillaTransformer"
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the keys are those of an inverted or a ProbSparse encoder."""
        if checkpoint.config is not None:
            return False
        state = checkpoint.state
        return "encoder.attn_layers.0.attention.query_projection.weight" in state and (
            ITRANSFORMER in state
            # An Autoformer has the same embedding, and a norm of its own.
            or (INFORMER in state and "encoder.norm.layernorm.weight" not in state)
        )

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model at the sizes that the tensors have."""
        state = checkpoint.state
        notes = hyper_parameters(checkpoint)
        heads = overrides.pop("heads", None) or notes.get("n_heads") or notes.get("n_head")
        if heads is None:
            raise UserError(
                f"{checkpoint.source} does not say how many heads the model has, and shapes do not "
                "tell; give heads (n_heads of the model; 8 is the default of iTransformer)"
            )
        depth = 1 + max(int(found[1]) for key in state if (found := _LAYER.match(key)))
        if ITRANSFORMER in state:
            return _itransformer(state, notes, int(heads), depth)
        return _moments(state, notes, int(heads), depth, checkpoint.source)

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors and joins the projections of an attention."""
        state = {k: v for k, v in checkpoint.state.items() if not k.endswith("embedding.pe")}
        distils = any(isinstance(module, Distilling) for module in model.modules())
        rename = partial(to_neuralforecast, distils=distils)
        converted = {}
        for ours in model.state_dict():
            theirs = rename(ours)
            if ours.startswith("head."):
                theirs = tuple(name for name in _heads(ours) if name in state) or theirs
            if all(name in state for name in theirs):
                pieces = [state.pop(name) for name in theirs]
                value = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
                # A convolution over one step is a linear layer.
                convolution = re.search(r"\.conv[12]\.weight$", theirs[0])
                converted[ours] = value.squeeze(-1) if convolution else value
        return converted | state


_LAYER = re.compile(r"encoder\.attn_layers\.(\d+)\.")


def hyper_parameters(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns what the file says about how its model was built; empty if it says nothing."""
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


def _itransformer(
    state: dict[str, Tensor], notes: dict[str, Any], heads: int, depth: int
) -> ITransformer:
    dim, context_length = state[ITRANSFORMER].shape
    head = state["projector.weight" if "projector.weight" in state else "projection.weight"]
    dropout = float(notes.get("dropout", 0.1))
    hidden = len(state["encoder.attn_layers.0.conv1.weight"])
    return ITransformer(
        context_length=context_length,
        horizon=len(head),
        dim=dim,
        depth=depth,
        heads=heads,
        mixer=partial(SelfAttention, dropout=dropout, out_dropout=dropout),
        feedforward=partial(MLP, hidden_dim=hidden, dropout=dropout),
        norm=partial(LayerNorm, eps=1e-5),
        normalize=bool(notes.get("use_norm", True)),
        dropout=dropout,
    )


def _moments(
    state: dict[str, Tensor], notes: dict[str, Any], heads: int, depth: int, source: str
) -> nn.Module:
    """Builds a model with one token for each moment: with a factor an Informer, else a transformer."""
    for name in ("input_size", "h"):
        if name not in notes:
            raise UserError(
                f"{source} does not say {name} of its model, and shapes do not tell; save it with "
                "neuralforecast's save(), which writes it down"
            )
    dim, variates, _ = state[INFORMER].shape
    marks = state.get("enc_embedding.temporal_embedding.embed.weight")
    dropout = float(notes.get("dropout", 0.05))
    context_length = int(notes["input_size"])
    share = float(notes.get("decoder_input_size_multiplier", 0.5))
    hidden = len(state["encoder.attn_layers.0.conv1.weight"])
    sizes: dict[str, Any] = {
        "variates": variates,
        "context_length": context_length,
        "horizon": int(notes["h"]),
        "start": -int(-context_length * share // 1),
        "dim": dim,
        "depth": depth,
        "decoder_depth": len(
            {key.split(".")[2] for key in state if key.startswith("decoder.layers.")}
        ),
        "heads": heads,
        "feedforward": partial(MLP, hidden_dim=hidden, dropout=dropout),
        "marks": 0 if marks is None else marks.shape[1],
        "dropout": dropout,
    }
    if "factor" not in notes:
        dense: dict[str, Any] = {"dropout": dropout, "out_dropout": dropout}
        return Transformer(
            **sizes,
            mixer=partial(SelfAttention, **dense),
            # Its decoder asks for a causal mask that its attention then leaves out.
            decoder_mixer=partial(SelfAttention, **dense),
            cross=partial(CrossAttention, **dense),
        )
    sparse: dict[str, Any] = {
        "factor": notes["factor"],
        "mix_heads": True,
        "out_dropout": dropout,
    }
    distils = any(key.startswith("encoder.conv_layers.") for key in state)
    return Informer(
        **sizes,
        mixer=partial(ProbSparseAttention, **sparse),
        decoder_mixer=partial(ProbSparseAttention, causal=True, **sparse),
        cross=partial(ProbSparseCrossAttention, **sparse),
        distilling=partial(Distilling, padding=2) if distils else None,
    )


def to_neuralforecast(name: str, *, distils: bool = False) -> tuple[str, ...]:
    """Returns the published names of one of our parameters; a fused projection has several.

    Args:
        name: Of the parameter in ``ITransformer`` or ``Informer``.
        distils: Whether a distilling stands between the blocks of the encoder.
    """
    block = re.match(r"(encoder|decoder)\.blocks\.(\d+)\.(.*)", name)
    if block is None:
        return (_outside(name),)
    side, place, inner = block[1], int(block[2]), block[3]
    if side == "encoder" and distils and place % 2:
        inner = inner.replace("convolution", "downConv")
        return (f"encoder.conv_layers.{place // 2}.{inner}",)
    place = place // 2 if side == "encoder" and distils else place
    layer = f"encoder.attn_layers.{place}" if side == "encoder" else f"decoder.layers.{place}"
    own = "attention" if side == "encoder" else "self_attention"
    norms = {"mixer": 1, "cross": 2, "feedforward": 2 if side == "encoder" else 3}
    sublayer, _, rest = inner.partition(".")
    if rest.startswith("norm."):
        return (f"{layer}.norm{norms[sublayer]}.{rest.removeprefix('norm.')}",)
    function = rest.removeprefix("function.")
    if sublayer == "feedforward":
        return (f"{layer}.{function.replace('fc', 'conv')}",)
    attention = f"{layer}.{own if sublayer == 'mixer' else 'cross_attention'}"
    part, _, kind = function.partition(".")
    if part == "projection":
        return (f"{attention}.out_projection.{kind}",)
    return tuple(f"{attention}.{PARTS[letter]}_projection.{kind}" for letter in part)


def _heads(name: str) -> tuple[str, ...]:
    """Returns what the head is called: in neuralforecast, in Time-Series-Library, in the Informer."""
    kind = name.rpartition(".")[2]
    return tuple(f"{part}.{kind}" for part in ("projector", "projection", "decoder.projection"))


def _outside(name: str) -> str:
    """Returns the published name of a parameter that belongs to no block."""
    embedding = {
        "embedding.projection": "enc_embedding.value_embedding",
        "embedding.values": "enc_embedding.value_embedding.tokenConv",
        "embedding.marks": "enc_embedding.temporal_embedding.embed",
        "decoder_embedding.values": "dec_embedding.value_embedding.tokenConv",
        "decoder_embedding.marks": "dec_embedding.temporal_embedding.embed",
        "head": "projector",
    }
    part, _, kind = name.rpartition(".")
    return f"{embedding.get(part, part)}.{kind}"


adapter = NeuralForecast()
