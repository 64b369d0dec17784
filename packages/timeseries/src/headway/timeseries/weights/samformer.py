"""Reading SAMformer checkpoints of its authors: the ``state_dict`` of the network."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.renaming import Renaming
from headway.timeseries.layers import AffineWindowNorm, ChannelAttention
from headway.timeseries.models.samformer import SAMformer

_NAMES = Renaming(
    [
        (r"^revin\.affine_weight$", "normalization.gain"),
        (r"^revin\.affine_bias$", "normalization.bias"),
        (r"^compute_queries\.", "mixer.q."),
        (r"^compute_keys\.", "mixer.k."),
        (r"^compute_values\.", "mixer.v."),
        (r"^linear_forecaster\.", "head."),
    ]
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

    def convert(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, Tensor]:
        """Renames the tensors."""
        return {_NAMES(name): value for name, value in checkpoint.state.items()}


adapter = SAMformerWeights()
