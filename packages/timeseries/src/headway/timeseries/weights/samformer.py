"""Reading SAMformer checkpoints of its authors: the ``state_dict`` of the network."""

from functools import partial
from typing import Any

from torch import nn

from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.table import Table, rename
from headway.timeseries.layers import AffineWindowNorm, ChannelAttention
from headway.timeseries.models.samformer import SAMformer

_TABLE = Table(
    rename("normalization.gain", "revin.affine_weight"),
    rename("normalization.bias", "revin.affine_bias"),
    rename("mixer.q.*", "compute_queries.*"),
    rename("mixer.k.*", "compute_keys.*"),
    rename("mixer.v.*", "compute_values.*"),
    rename("head.*", "linear_forecaster.*"),
)
KEYS = {"revin.affine_weight", "compute_keys.weight", "linear_forecaster.weight"}


class SAMformerWeights:
    """Recognises the names of the layers; all sizes are those of the tensors."""

    name = "SAMformer of its authors"
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether the layers are there."""
        return checkpoint.config is None and checkpoint.state.keys() >= KEYS

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model at the sizes that the tensors have."""
        state = checkpoint.state
        horizon, length = state["linear_forecaster.weight"].shape
        variates = len(state["revin.affine_weight"])
        return SAMformer(
            context_length=length,
            horizon=horizon,
            mixer=partial(ChannelAttention, head_dim=len(state["compute_keys.weight"])),
            normalization=partial(AffineWindowNorm, variates=variates),
        )

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


adapter = SAMformerWeights()
