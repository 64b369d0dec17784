"""What configurations of published encoders of samples say alike: wav2vec 2.0 and its descendants."""

from functools import partial
from typing import Any

from torch import nn

from headway.core.errors import UserError
from headway.core.feedforward import GELU
from headway.core.weights.table import Rule, drop, rename, under
from headway.speech.layers import WaveformStem

ACTIVATIONS: dict[str, Any] = {
    "swish": nn.SiLU,
    "silu": nn.SiLU,
    "gelu": GELU,
    "gelu_new": partial(GELU, "tanh"),
    "relu": nn.ReLU,
}
# Keys of pre-training, of the loss and of other heads: they change no answer.
HARMLESS = (
    "activation_dropout", "apply_spec_augment", "bos_token_id", "classifier_proj_size", "codevector_dim",
    "contrastive_logits_temperature", "ctc_loss_reduction", "ctc_zero_infinity", "diversity_loss_weight",
    "eos_token_id", "feat_quantizer_dropout", "freeze_feat_extract_train", "layerdrop",
    "mask_channel_length", "mask_channel_min_space", "mask_channel_other", "mask_channel_prob",
    "mask_channel_selection", "mask_feature_length", "mask_feature_min_masks", "mask_feature_prob",
    "mask_time_length", "mask_time_min_masks", "mask_time_min_space", "mask_time_other", "mask_time_prob",
    "mask_time_selection", "no_mask_channel_overlap", "no_mask_time_overlap", "num_codevector_groups",
    "num_codevectors_per_group", "num_ctc_classes", "num_feat_extract_layers", "num_negatives",
    "proj_codevector_dim", "replace_prob", "tdnn_dilation", "tdnn_dim", "tdnn_kernel",
    "xvector_output_dim",
    # Sizes of an adapter that is not there.
    "adapter_act", "adapter_kernel_size", "adapter_stride", "num_adapter_layers", "output_hidden_size",
    "use_intermediate_ffn_before_adapter",
)  # fmt: skip

# What pre-training learned beside the encoder: a quantiser and projections.
PRETRAINING = drop("quantizer.*", "project_q.*", "project_hid.*")


def read_activation(config: dict[str, Any], key: str = "hidden_act", usual: str = "gelu") -> Any:
    """Returns the class of an activation.

    Args:
        config: The configuration.
        key: Where it names the activation.
        usual: Where it does not.

    Raises:
        UserError: If it is not known.
    """
    name = config.get(key, usual)
    if name not in ACTIVATIONS:
        raise UserError(f"the activation {name!r} is not known; known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def waveform_stem(config: dict[str, Any], *, normed: bool = True) -> partial[WaveformStem]:
    """Returns what builds the convolutions over samples, ``(dim)``.

    Args:
        config: The configuration.
        normed: Whether a norm stands in front of the projection.
    """
    return partial(
        WaveformStem,
        channels=tuple(config.get("conv_dim", (512,) * 7)),
        kernels=tuple(config.get("conv_kernel", (10, 3, 3, 3, 3, 2, 2))),
        strides=tuple(config.get("conv_stride", (5, 2, 2, 2, 2, 2, 2))),
        norm=config.get("feat_extract_norm", "group"),
        bias=config.get("conv_bias", False),
        eps=config.get("layer_norm_eps", 1e-5),
        dropout=config.get("feat_proj_dropout", 0.0),
        normed=normed,
    )


def stem_rules(base: str) -> list[Rule]:
    """Returns the rules of the convolutions over samples.

    Args:
        base: In front of their names.
    """
    return under(
        "encoder.stem.",
        base,
        rename("convolutions.{n}.*", "feature_extractor.conv_layers.{n}.conv.*"),
        rename("norms.{n}.*", "feature_extractor.conv_layers.{n}.layer_norm.*"),
        rename("norm.*", "feature_projection.layer_norm.*"),
        rename("projection.*", "feature_projection.projection.*"),
    )
