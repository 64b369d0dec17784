"""Reading iTransformer, Informer and VanillaTransformer checkpoints of neuralforecast and the authors."""

import re
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.resample import Distilling
from headway.core.weights.checkpoint import Checkpoint
from headway.timeseries.models.itransformer import ITransformer
from headway.timeseries.weights.moments import VALUES, build_moments
from headway.timeseries.weights.notes import hyper_parameters

ITRANSFORMER = "enc_embedding.value_embedding.weight"
INFORMER = f"{VALUES}.weight"
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
        return build_moments(state, notes, int(heads), depth, checkpoint.source)

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
