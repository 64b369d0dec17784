"""Reading Wav2Vec2-Conformer checkpoints of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.blocks import MacaronBlock
from headway.core.errors import InputError, UserError
from headway.core.feedforward import GELU, MLP
from headway.core.language import NumberedTokens, Tokenizer
from headway.core.language.subwords import numbered
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeSinusoidal
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Table, drop, join, pointwise, rename, under
from headway.speech.front_ends import Waveform
from headway.speech.layers import WaveformStem
from headway.speech.models.conformer import Conformer
from headway.speech.models.ctc import CTC
from headway.speech.tokenizers import TextTokenizer

ACTIVATIONS: dict[str, Any] = {"swish": nn.SiLU, "silu": nn.SiLU, "gelu": GELU, "relu": nn.ReLU}
_BASE = "wav2vec2_conformer."
_TABLE = Table(
    under(
        "encoder.",
        _BASE,
        rename("stem.convolutions.{n}.*", "feature_extractor.conv_layers.{n}.conv.*"),
        rename("stem.norms.{n}.*", "feature_extractor.conv_layers.{n}.layer_norm.*"),
        rename("stem.norm.*", "feature_projection.layer_norm.*"),
        rename("stem.projection.*", "feature_projection.projection.*"),
        rename("encoder.norm.*", "encoder.layer_norm.*"),
    ),
    under(
        "encoder.encoder.blocks.{n}.",
        f"{_BASE}encoder.layers.{{n}}.",
        rename("feedforward_in.norm.*", "ffn1_layer_norm.*"),
        rename("feedforward_in.function.fc1.*", "ffn1.intermediate_dense.*"),
        rename("feedforward_in.function.fc2.*", "ffn1.output_dense.*"),
        rename("feedforward_out.norm.*", "ffn2_layer_norm.*"),
        rename("feedforward_out.function.fc1.*", "ffn2.intermediate_dense.*"),
        rename("feedforward_out.function.fc2.*", "ffn2.output_dense.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        join("mixer.function.qkv.*", [f"self_attn.linear_{part}.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.linear_out.*"),
        rename("mixer.function.position.relative.*", "self_attn.linear_pos.*"),
        rename("mixer.function.position.content_bias", "self_attn.pos_bias_u"),
        rename("mixer.function.position.place_bias", "self_attn.pos_bias_v"),
        rename("convolution.norm.*", "conv_module.layer_norm.*"),
        # Convolutions over one frame are linear layers here.
        rename("convolution.function.expand.*", "conv_module.pointwise_conv1.*", form=pointwise(1)),
        rename("convolution.function.convolution.*", "conv_module.depthwise_conv.*"),
        rename("convolution.function.norm.*", "conv_module.batch_norm.*"),
        rename(
            "convolution.function.projection.*", "conv_module.pointwise_conv2.*", form=pointwise(1)
        ),
        rename("norm.*", "final_layer_norm.*"),
    ),
    rename("head.classifier.*", "lm_head.*"),
    # In the files, but not in the computation: the mask of pre-training, its quantiser and projections, and
    # a positional convolution that the Conformer inherited and never calls.
    drop(f"{_BASE}masked_spec_embed", f"{_BASE}encoder.pos_conv_embed.*"),
    drop("quantizer.*", "project_q.*", "project_hid.*"),
    prefix=_BASE,
)


class HuggingFaceConformer:
    """Recognises ``model_type: wav2vec2-conformer`` in config.json."""

    name = "Hugging Face Wav2Vec2-Conformer"
    architectures = (
        "Wav2Vec2ConformerForCTC",
        "Wav2Vec2ConformerModel",
        "Wav2Vec2ConformerForPreTraining",
    )
    # Of transformers' Wav2Vec2ConformerConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "feat_extract_activation": "gelu",
        "use_weighted_layer_sum": False,
        "add_adapter": False,
    }
    # Pre-training, the loss and other heads; sizes of parts that are not there.
    harmless = (
        "activation_dropout", "adapter_kernel_size", "adapter_stride", "apply_spec_augment", "bos_token_id",
        "classifier_proj_size", "codevector_dim", "contrastive_logits_temperature", "ctc_loss_reduction",
        "ctc_zero_infinity", "diversity_loss_weight", "eos_token_id", "feat_quantizer_dropout", "layerdrop",
        "mask_feature_length", "mask_feature_min_masks", "mask_feature_prob", "mask_time_length",
        "mask_time_min_masks", "mask_time_prob", "max_source_positions", "num_adapter_layers",
        "num_codevector_groups", "num_codevectors_per_group", "num_conv_pos_embedding_groups",
        "num_conv_pos_embeddings", "num_feat_extract_layers", "num_negatives", "output_hidden_size",
        "proj_codevector_dim", "rotary_embedding_base", "tdnn_dilation", "tdnn_dim", "tdnn_kernel",
        "xvector_output_dim", "do_stable_layer_norm",
    )  # fmt: skip
    # A checkpoint of pre-training has no head.
    may_miss = ("head.classifier.",)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == "wav2vec2-conformer"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        return CTC(
            encoder=build_encoder(config),
            tokenizer=_tokenizer(checkpoint),
            front_end=_front_end(checkpoint),
            dropout=config.get("final_dropout", 0.1),
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json and vocab.json of a model that writes other tokens."""
        assert isinstance(model, CTC)
        tokenizer = model.tokenizer
        values = {"vocab_size": (len(tokenizer), 32), "pad_token_id": (model.blank, 0)}
        files = {"config.json": with_changes(checkpoint.config, values)}
        if tokenizer.vocabulary != _tokenizer(checkpoint).vocabulary:
            names = ("|" if token == " " else token for token in tokenizer.vocabulary)
            files["vocab.json"] = {name: place for place, name in enumerate(names)}
        return files

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        return _TABLE


def build_encoder(config: dict[str, Any]) -> Conformer:
    """Returns the encoder that a config.json describes.

    Raises:
        UserError: If it asks for parts that are not here.
    """
    position = config.get("position_embeddings_type", "relative")
    if position not in ("relative", None):
        raise UserError(
            f"position_embeddings_type {position!r} of this checkpoint turns the input of queries and "
            "keys before their projection, which no mixer here does; take a 'relative' one"
        )
    if config.get("add_adapter"):
        raise UserError("a checkpoint with add_adapter is not supported; take one without")
    name = config.get("hidden_act", "gelu")
    if name not in ACTIVATIONS:
        raise UserError(f"the activation {name!r} is not known; known: {', '.join(ACTIVATIONS)}")
    hidden, attention = config.get("hidden_dropout", 0.1), config.get("attention_dropout", 0.1)
    convolution = partial(
        GatedConvolutionMixer,
        window=config.get("conv_depthwise_kernel_size", 31),
        activation=ACTIVATIONS[name],
        dropout=config.get("conformer_conv_dropout", 0.1),
    )
    return Conformer(
        dim=config["hidden_size"],
        depth=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        stem=partial(
            WaveformStem,
            channels=tuple(config.get("conv_dim", (512,) * 7)),
            kernels=tuple(config.get("conv_kernel", (10, 3, 3, 3, 3, 2, 2))),
            strides=tuple(config.get("conv_stride", (5, 2, 2, 2, 2, 2, 2))),
            norm=config.get("feat_extract_norm", "group"),
            bias=config.get("conv_bias", False),
            eps=config.get("layer_norm_eps", 1e-5),
            dropout=config.get("feat_proj_dropout", 0.0),
        ),
        mixer=partial(
            SelfAttention,
            position=RelativeSinusoidal if position == "relative" else None,
            dropout=attention,
            out_dropout=attention,
        ),
        feedforward=partial(
            MLP,
            hidden_dim=config["intermediate_size"],
            activation=ACTIVATIONS[name],
            dropout=hidden,
        ),
        norm=partial(LayerNorm, eps=1e-5),
        block=partial(MacaronBlock, convolution=convolution),
        final_norm=True,
    )


def _front_end(checkpoint: Checkpoint) -> Waveform:
    """Returns what preprocessor_config.json asks for: samples, usually normalised."""
    notes = _json(checkpoint, "preprocessor_config.json") or {}
    return Waveform(
        sample_rate=notes.get("sampling_rate", 16000),
        normalise="utterance" if notes.get("do_normalize", True) else "none",
    )


def _tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Returns the characters of vocab.json, the word delimiter as a space; numbers where there is none."""
    config = checkpoint.config or {}
    size, blank = config.get("vocab_size", 32), config.get("pad_token_id", 0)
    vocabulary = _json(checkpoint, "vocab.json")
    if vocabulary is None:
        names = [f"<{place}>" for place in range(size)]
        return NumberedTokens(vocabulary=names, padding=None, start=None, end=None, blank=blank)
    places = {place: token for token, place in vocabulary.items()}
    most = max((place for place in places if isinstance(place, int)), default=-1)
    if most >= size:
        raise InputError(
            f"vocab.json of {checkpoint.source}",
            f"numbers a token {most}, and the model answers for {size}",
        )
    # A file may be shorter than the head; the rest stands for no text.
    tokens = [" " if token == "|" else token for token in numbered(places, size)]
    upper = any(len(token) == 1 and token.isupper() for token in tokens)
    lower = any(len(token) == 1 and token.islower() for token in tokens)
    case = "keep" if upper == lower else "upper" if upper else "lower"
    return TextTokenizer(vocabulary=tokens, case=case, blank=blank)


def _json(checkpoint: Checkpoint, name: str) -> dict[str, Any] | None:
    file = checkpoint.folder / name
    return read_json(file) if file.is_file() else None


adapter = HuggingFaceConformer()
