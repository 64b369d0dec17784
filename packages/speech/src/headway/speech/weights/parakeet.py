"""Reading NeMo's Parakeet checkpoints in the form of Hugging Face transformers: CTC, RNN-T and TDT."""

import math
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.blocks import MacaronBlock
from headway.core.feedforward import MLP
from headway.core.language import NumberedTokens, SubwordTokenizer, Tokenizer
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.positions import RelativeSinusoidal
from headway.core.reading import read_text
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import NotedConfig
from headway.core.weights.table import Rule, Table, combine, drop, join, pointwise, rename, under
from headway.speech.front_ends import NeMoMel
from headway.speech.layers import JointNetwork, RecurrentPredictor, StridingSubsampling
from headway.speech.models import CTC, Conformer, Transducer
from headway.speech.weights.processors import read_processor
from headway.speech.weights.waveforms import read_activation

_ENCODER = (
    rename("encoder.stem.first.*", "encoder.subsampling.layers.0.*"),
    rename("encoder.stem.projection.*", "encoder.subsampling.linear.*"),
    *under(
        "encoder.encoder.blocks.{n}.",
        "encoder.layers.{n}.",
        rename("feedforward_in.norm.*", "norm_feed_forward1.*"),
        rename("feedforward_in.function.fc1.*", "feed_forward1.linear1.*"),
        rename("feedforward_in.function.fc2.*", "feed_forward1.linear2.*"),
        rename("feedforward_out.norm.*", "norm_feed_forward2.*"),
        rename("feedforward_out.function.fc1.*", "feed_forward2.linear1.*"),
        rename("feedforward_out.function.fc2.*", "feed_forward2.linear2.*"),
        rename("mixer.norm.*", "norm_self_att.*"),
        join("mixer.function.qkv.*", [f"self_attn.{part}_proj.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.o_proj.*"),
        rename("mixer.function.position.relative.*", "self_attn.relative_k_proj.*"),
        rename("mixer.function.position.content_bias", "self_attn.bias_u"),
        rename("mixer.function.position.place_bias", "self_attn.bias_v"),
        rename("convolution.norm.*", "norm_conv.*"),
        rename("convolution.function.expand.*", "conv.pointwise_conv1.*", form=pointwise(1)),
        rename("convolution.function.convolution.*", "conv.depthwise_conv.*"),
        rename("convolution.function.norm.*", "conv.norm.*"),
        rename("convolution.function.projection.*", "conv.pointwise_conv2.*", form=pointwise(1)),
        rename("norm.*", "norm_out.*"),
    ),
    drop("encoder.encode_positions.inv_freq"),
)
_CTC = rename("head.classifier.*", "ctc_head.*", form=pointwise(1))
_TRANSDUCER = (
    rename("predictor.embedding.*", "decoder.embedding.*"),
    rename("predictor.lstm.*", "decoder.lstm.*"),
    rename("joint.encoded.*", "encoder_projector.*"),
    rename("joint.predicted.*", "decoder.decoder_projector.*"),
)
_KINDS = {"parakeet_ctc": CTC, "parakeet_rnnt": Transducer, "parakeet_tdt": Transducer}
# Entries of NeMo's usual vocabularies, blank counted, and the blank.
_ENTRIES = {
    "parakeet_ctc": (1025, 1024),
    "parakeet_rnnt": (8193, 8192),
    "parakeet_tdt": (8193, 8192),
}
# Of the encoder's configuration: what is not read, and what changes no answer.
_ENCODER_DEFAULTS = {"subsampling_conv_kernel_size": 3, "subsampling_conv_stride": 2}
_TRAINING = ("layerdrop", "dropout_positions", "activation_dropout", "max_position_embeddings")


class Parakeet:
    """Recognises ``model_type: parakeet_ctc``, ``parakeet_rnnt`` and ``parakeet_tdt`` in config.json."""

    name = "Hugging Face Parakeet"
    architectures = ("ParakeetForCTC", "ParakeetForRNNT", "ParakeetForTDT")
    # Of transformers' configurations, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {"is_encoder_decoder": True}
    # Of training; the padding of texts.
    harmless = ("ctc_loss_reduction", "ctc_zero_infinity", "pad_token_id")
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        return checkpoint.config is not None and checkpoint.config.get("model_type") in _KINDS

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        inner = NotedConfig(config.get("encoder_config") or {}, checkpoint.source)
        encoder = build_encoder(inner)
        usual = {**_ENCODER_DEFAULTS, "num_key_value_heads": inner.get("num_attention_heads", 8)}
        inner.refuse_unread(checkpoint.source, defaults=usual, harmless=_TRAINING)
        kind = config["model_type"]
        front_end = _front_end(checkpoint, encoder.bands or 80)
        size, blank = _ENTRIES[kind]
        key = "pad_token_id" if kind == "parakeet_ctc" else "blank_token_id"
        tokenizer = _tokenizer(checkpoint, config.get("vocab_size", size), config.get(key, blank))
        if kind == "parakeet_ctc":
            return CTC(encoder=encoder, tokenizer=tokenizer, front_end=front_end)
        width = config.get("decoder_hidden_size", 640)
        durations = config.get("durations", (0, 1, 2, 3, 4)) if kind == "parakeet_tdt" else ()
        return Transducer(
            encoder=encoder,
            tokenizer=tokenizer,
            front_end=front_end,
            predictor=partial(RecurrentPredictor, depth=config.get("num_decoder_layers", 2)),
            predictor_dim=width,
            joint=partial(
                JointNetwork, dim=width, activation=read_activation(config, usual="relu")
            ),
            durations=tuple(durations),
            most=config.get("max_symbols_per_step", 10),
        )

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        assert isinstance(model, (CTC, Transducer))
        stem = model.encoder.stem
        assert isinstance(stem, StridingSubsampling)
        # Their list counts the functions in between, too.
        middle = [
            rename(f"encoder.stem.{part}.{n}.*", f"encoder.subsampling.layers.{3 * n + place}.*")
            for n in range(len(stem.depthwise))
            for part, place in (("depthwise", 2), ("pointwise", 3))
        ]
        if isinstance(model, CTC):
            return Table(*middle, *_ENCODER, _CTC)
        return Table(*middle, *_ENCODER, *_TRANSDUCER, *_heads(model))


def build_encoder(config: dict[str, Any]) -> Conformer:
    """Returns the encoder that a configuration describes, a FastConformer."""
    dim, attention = config.get("hidden_size", 1024), config.get("attention_dropout", 0.1)
    bias, dropout = config.get("attention_bias", True), config.get("dropout", 0.1)
    activation = read_activation(config, usual="silu")
    return Conformer(
        dim=dim,
        depth=config.get("num_hidden_layers", 24),
        heads=config.get("num_attention_heads", 8),
        stem=partial(
            StridingSubsampling,
            features=config.get("num_mel_bins", 80),
            channels=config.get("subsampling_conv_channels", 256),
            stride=config.get("subsampling_factor", 8),
            scale=math.sqrt(dim) if config.get("scale_input", True) else 1.0,
            dropout=dropout,
        ),
        mixer=partial(
            SelfAttention,
            position=RelativeSinusoidal,
            qkv_bias=bias,
            out_bias=bias,
            dropout=attention,
        ),
        feedforward=partial(
            MLP,
            hidden_dim=config.get("intermediate_size", 4096),
            activation=activation,
            bias=bias,
        ),
        block=partial(
            MacaronBlock,
            convolution=partial(
                GatedConvolutionMixer,
                window=config.get("conv_kernel_size", 9),
                activation=activation,
                bias=config.get("convolution_bias", True),
            ),
        ),
    )


def _heads(model: Transducer) -> list[Rule]:
    """Returns the rules of the scores: those of durations stand behind those of tokens."""
    count = len(model.durations)
    if not count:
        return [rename("joint.out.*", "joint.head.*")]

    def read(whole: Tensor) -> tuple[Tensor, Tensor]:
        return whole[:-count], whole[-count:]

    def write(tokens: Tensor, durations: Tensor) -> Tensor:
        return torch.cat([tokens, durations])

    return [combine(["joint.out.*", "joint.lasting.*"], ["joint.head.*"], read=read, write=write)]


def _front_end(checkpoint: Checkpoint, mels: int) -> NeMoMel:
    notes = read_processor(checkpoint)
    return NeMoMel(
        sample_rate=notes.get("sampling_rate", 16000),
        mels=notes.get("feature_size", mels),
        size=notes.get("n_fft", 512),
        window=notes.get("win_length", 400),
        hop=notes.get("hop_length", 160),
        preemphasis=notes.get("preemphasis") or 0.0,
    )


def _tokenizer(checkpoint: Checkpoint, size: int, blank: int) -> Tokenizer:
    """Returns what tokenizer.json says; numbers where there is none."""
    file = checkpoint.folder / "tokenizer.json"
    if file.is_file():
        return SubwordTokenizer(definition=read_text(file), size=size, blank=blank)
    names = [f"<{place}>" for place in range(size)]
    return NumberedTokens(vocabulary=names, padding=None, start=None, end=None, blank=blank)


adapter = Parakeet()
