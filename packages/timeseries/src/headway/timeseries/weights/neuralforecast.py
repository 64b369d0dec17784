"""Reading iTransformer, Informer and VanillaTransformer checkpoints of neuralforecast and the authors."""

import re
from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.resample import Distilling
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, drop, join, pointwise, rename, under
from headway.timeseries.models.itransformer import ITransformer
from headway.timeseries.weights.moments import VALUES, build_moments
from headway.timeseries.weights.notes import hyper_parameters

ITRANSFORMER = "enc_embedding.value_embedding.weight"
INFORMER = f"{VALUES}.weight"
PARTS = ("query", "key", "value")
# What an attention is made of, to its own tokens and to others; theirs after its own name.
ATTENTION = (
    join("qkv.*", [f"{part}_projection.*" for part in PARTS]),
    rename("projection.*", "out_projection.*"),
)
CROSS = (
    rename("q.*", "query_projection.*"),
    join("kv.*", ["key_projection.*", "value_projection.*"]),
    rename("projection.*", "out_projection.*"),
)
# A convolution over one step is a linear layer.
FEEDFORWARD = (
    rename("feedforward.function.fc1.*", "conv1.*", form=pointwise(1)),
    rename("feedforward.function.fc2.*", "conv2.*", form=pointwise(1)),
)
EMBEDDINGS = (
    rename("embedding.values.*", "enc_embedding.value_embedding.tokenConv.*"),
    rename("embedding.marks.*", "enc_embedding.temporal_embedding.embed.*"),
    rename("decoder_embedding.values.*", "dec_embedding.value_embedding.tokenConv.*"),
    rename("decoder_embedding.marks.*", "dec_embedding.temporal_embedding.embed.*"),
)
_ENCODER = (
    *under("mixer.function.", "attention.", *ATTENTION),
    rename("mixer.norm.*", "norm1.*"),
    rename("feedforward.norm.*", "norm2.*"),
    *FEEDFORWARD,
)
_DECODER = (
    *under("mixer.function.", "self_attention.", *ATTENTION),
    *under("cross.function.", "cross_attention.", *CROSS),
    rename("mixer.norm.*", "norm1.*"),
    rename("cross.norm.*", "norm2.*"),
    rename("feedforward.norm.*", "norm3.*"),
    *FEEDFORWARD,
)
_DISTILLING = (rename("convolution.*", "downConv.*"), rename("norm.*", "norm.*"))


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

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return names_of(distils=any(isinstance(part, Distilling) for part in model.modules()))


def names_of(*, distils: bool = False) -> Table:
    """Returns the published names of an ``ITransformer``, ``Informer`` or ``Transformer``.

    Args:
        distils: Whether a distilling stands between the blocks of the encoder.
    """
    blocks = under(
        "encoder.blocks.{2n}." if distils else "encoder.blocks.{n}.",
        "encoder.attn_layers.{n}.",
        *_ENCODER,
    )
    between = under("encoder.blocks.{2n+1}.", "encoder.conv_layers.{n}.", *_DISTILLING)
    return Table(
        EMBEDDINGS,
        rename("embedding.projection.*", "enc_embedding.value_embedding.*"),
        blocks,
        between if distils else (),
        under("decoder.blocks.{n}.", "decoder.layers.{n}.", *_DECODER),
        # In neuralforecast, in Time-Series-Library, in the Informer.
        rename("head.*", "projector.*", "projection.*", "decoder.projection.*"),
        rename("encoder.norm.*", "encoder.norm.*"),
        rename("decoder.norm.*", "decoder.norm.*"),
        # Places that follow from the sizes.
        drop("*embedding.pe"),
    )


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


adapter = NeuralForecast()
