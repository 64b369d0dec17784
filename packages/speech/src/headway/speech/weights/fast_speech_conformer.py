"""Reading the voices of transformers: FastSpeech2Conformer, by itself and with its vocoder."""

from functools import partial
from typing import Any, ClassVar

from torch import nn

from headway.core.blocks import MacaronBlock, PostNormMacaronBlock
from headway.core.errors import InputError, UserError
from headway.core.language import NumberedTokens, Tokenizer
from headway.core.language.subwords import numbered
from headway.core.mixers import GatedConvolutionMixer, SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import RelativeSinusoidal
from headway.core.stacks import Encoder
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import NotedConfig
from headway.core.weights.table import Rule, Table, join, pointwise, rename, under
from headway.speech.front_ends import LogMel
from headway.speech.layers import ConvolutionalMLP, Postnet
from headway.speech.layers.variance import VariancePredictor
from headway.speech.models.conformer_voice import FRAME, ConformerVoice
from headway.speech.models.hifi_gan import HiFiGAN
from headway.speech.models.variances import Variances
from headway.speech.tokenizers import TextTokenizer
from headway.speech.weights.hifi_gan import HIGHEST, LOWEST, build_vocoder, vocoder_rules
from headway.speech.weights.processors import read_beside

ALONE, WITH_VOCODER = "fastspeech2_conformer", "fastspeech2_conformer_with_hifigan"
# What is not read, with the value that such a model has.
_DEFAULTS = {
    "reduction_factor": 1,
    "speaking_speed": 1.0,
    "use_macaron_style_in_conformer": True,
    "use_cnn_in_conformer": True,
    "encoder_concat_after": False,
    "decoder_concat_after": False,
    "energy_embed_kernel_size": 1,
    "pitch_embed_kernel_size": 1,
    "is_encoder_decoder": True,
}
# Of training, and what other keys say again.
_HARMLESS = (
    "decoder_attention_dropout_rate", "decoder_config", "decoder_dropout_rate",
    "decoder_positional_dropout_rate", "duration_predictor_dropout_rate", "encoder_attention_dropout_rate",
    "encoder_config", "encoder_dropout_rate", "encoder_positional_dropout_rate", "energy_embed_dropout",
    "energy_predictor_dropout", "max_source_positions", "pitch_embed_dropout", "pitch_predictor_dropout",
    "speech_decoder_postnet_dropout", "stop_gradient_from_energy_predictor",
    "stop_gradient_from_pitch_predictor", "use_masking", "use_weighted_masking",
)  # fmt: skip
# Published voices are of 22,050 Hz, 256 samples between two steps and 1,024 in a window; no file says it.
_RATE, _HOP, _WINDOW = 22050, 256, 1024


class FastSpeechConformer:
    """Recognises ``model_type: fastspeech2_conformer``, alone or ``_with_hifigan``, in config.json.

    Texts are phonemes between spaces, as g2p_en gives them: what turns words into them is not read. Padding
    of a batch changes no answer here; in transformers convolutions hear it.
    """

    name = "Hugging Face FastSpeech2Conformer"
    architectures = ("FastSpeech2ConformerModel", "FastSpeech2ConformerWithHifiGan")
    defaults: ClassVar[dict[str, Any]] = dict(_DEFAULTS)
    harmless = _HARMLESS
    may_miss = ()

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of a voice."""
        config = checkpoint.config
        return config is not None and config.get("model_type") in (ALONE, WITH_VOCODER)

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        whole: Any = checkpoint.config or {}
        if whole["model_type"] == ALONE:
            return _voice(whole, checkpoint, None)
        parts = {}
        for name in ("model_config", "vocoder_config"):
            parts[name] = NotedConfig(whole.get(name, {}) or {}, f"{name} of {checkpoint.source}")
        parts["vocoder_config"].setdefault("model_type", "fastspeech2_conformer_hifigan")
        vocoder = build_vocoder(parts["vocoder_config"], checkpoint.source)
        model = _voice(parts["model_config"], checkpoint, vocoder)
        parts["model_config"].refuse_unread(
            checkpoint.source, defaults=_DEFAULTS, harmless=_HARMLESS
        )
        parts["vocoder_config"].refuse_unread(checkpoint.source, defaults={}, harmless=())
        return model

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        assert isinstance(model, ConformerVoice)
        if model.vocoder is None:
            return Table(*_RULES)
        assert isinstance(model.vocoder, HiFiGAN)
        vocoder = [
            rule
            for one in vocoder_rules(model.vocoder)
            for rule in (one if isinstance(one, list) else [one])
        ]
        return Table(under("", "model.", *_RULES), under("vocoder.", "vocoder.", *vocoder))


def _voice(config: Any, checkpoint: Checkpoint, vocoder: HiFiGAN | None) -> ConformerVoice:
    """Returns the voice that a configuration describes.

    Raises:
        UserError: If it knows several speakers or languages.
    """
    for name in ("num_speakers", "num_languages"):
        if (config.get(name) or 1) > 1:
            raise UserError(
                f"{checkpoint.source} has {name} {config.get(name)}; voices of one speaker and language are "
                "read"
            )
    if config.get("speaker_embed_dim"):
        raise UserError(f"{checkpoint.source} reads embeddings of speakers, which is not supported")
    norm = partial(LayerNorm, eps=1e-5)
    dim, kernel = config.get("hidden_size", 384), config.get("positionwise_conv_kernel_size", 3)
    bias = config.get("convolution_bias", True)

    def stack(name: str, window: int) -> partial[Encoder]:
        before = config.get(f"{name}_normalize_before", False)
        block = MacaronBlock if before else PostNormMacaronBlock
        heads = (
            "encoder_num_attention_heads" if name == "encoder" else "decoder_num_attention_heads"
        )
        return partial(
            Encoder,
            depth=config.get(f"{name}_layers", 4),
            heads=config.get(heads, 2),
            mixer=partial(SelfAttention, position=RelativeSinusoidal),
            feedforward=partial(
                ConvolutionalMLP,
                kernels=(kernel, kernel),
                hidden_dim=config.get(f"{name}_linear_units", 1536),
            ),
            norm=norm,
            block=partial(
                block,
                convolution=partial(
                    GatedConvolutionMixer,
                    window=config.get(f"{name}_kernel_size", window),
                    bias=bias,
                ),
            ),
            final_norm=False,
        )

    def predictor(name: str, depth: int, window: int) -> partial[VariancePredictor]:
        return partial(
            VariancePredictor,
            hidden_dim=config.get(f"{name}_predictor_channels", 256),
            kernel=config.get(f"{name}_predictor_kernel_size", window),
            depth=config.get(f"{name}_predictor_layers", depth),
            norm=norm,
        )

    mels = config.get("num_mel_bins", 80)
    front_end = LogMel(
        sample_rate=_RATE,
        mels=mels,
        size=_WINDOW,
        hop=_HOP,
        lowest=LOWEST,
        highest=HIGHEST,
        logarithm="decimal",
        normalise="none",
    )
    if vocoder is not None:
        given = {**vocoder.mel.init_args, "normalise": "none"}
        front_end = LogMel(**given)
    return ConformerVoice(
        dim=dim,
        encoder=stack("encoder", 7),
        decoder=stack("decoder", 31),
        tokenizer=_tokenizer(checkpoint, config.get("vocab_size", 78)),
        front_end=front_end,
        variances=partial(
            Variances, predictor=[predictor("pitch", 5, 5), predictor("energy", 2, 3)]
        ),
        predictor=predictor("duration", 2, 3),
        postnet=partial(
            Postnet,
            channels=config.get("speech_decoder_postnet_units", 256),
            depth=config.get("speech_decoder_postnet_layers", 5),
            kernel=config.get("speech_decoder_postnet_kernel", 5),
        ),
        vocoder=vocoder,
    )


def _tokenizer(checkpoint: Checkpoint, size: int) -> Tokenizer:
    """Returns the phonemes of vocab.json; numbers where there is none.

    Raises:
        InputError: If it lacks the end of a text, or has more tokens than the model.
    """
    vocabulary = read_beside(checkpoint, "vocab.json")
    if not vocabulary:
        names = [f"<{place}>" for place in range(size)]
        # Theirs stand in this order, the end behind all phonemes.
        return NumberedTokens(vocabulary=names, padding=0, unknown=1, end=size - 1)
    named = [vocabulary.get(name) for name in FRAME]
    file = f"vocab.json of {checkpoint.source}"
    if None in named:
        raise InputError(file, f"lacks {FRAME[named.index(None)]}")
    if max(vocabulary.values()) >= size:
        raise InputError(file, f"numbers more tokens than the {size} of the model")
    tokens = numbered({place: token for token, place in vocabulary.items()}, size)
    padding, unknown, end = named
    return TextTokenizer(
        vocabulary=tokens,
        unit="words",
        case="keep",
        padding=padding,
        unknown=unknown,
        end=end,
        blank=None,
    )


def _predictor_rules(ours: str, theirs: str) -> list[Rule]:
    return under(
        f"{ours}.",
        f"{theirs}.",
        rename("convolutions.{n}.*", "conv_layers.{n}.conv.*"),
        rename("norms.{n}.*", "conv_layers.{n}.layer_norm.*"),
        rename("head.*", "linear.*"),
    )


def _stack_rules(name: str) -> list[Rule]:
    return under(
        f"{name}.blocks.{{n}}.",
        f"{name}.conformer_layers.{{n}}.",
        rename("feedforward_in.norm.*", "ff_macaron_layer_norm.*"),
        rename("feedforward_in.function.first.*", "feed_forward_macaron.conv1.*"),
        rename("feedforward_in.function.second.*", "feed_forward_macaron.conv2.*"),
        rename("feedforward_out.norm.*", "ff_layer_norm.*"),
        rename("feedforward_out.function.first.*", "feed_forward.conv1.*"),
        rename("feedforward_out.function.second.*", "feed_forward.conv2.*"),
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        join("mixer.function.qkv.*", [f"self_attn.linear_{part}.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.linear_out.*"),
        rename("mixer.function.position.relative.*", "self_attn.linear_pos.*"),
        rename("mixer.function.position.content_bias", "self_attn.pos_bias_u"),
        rename("mixer.function.position.place_bias", "self_attn.pos_bias_v"),
        rename("convolution.norm.*", "conv_layer_norm.*"),
        rename("convolution.function.expand.*", "conv_module.pointwise_conv1.*", form=pointwise(1)),
        rename("convolution.function.convolution.*", "conv_module.depthwise_conv.*"),
        rename("convolution.function.norm.*", "conv_module.norm.*"),
        rename(
            "convolution.function.projection.*", "conv_module.pointwise_conv2.*", form=pointwise(1)
        ),
        rename("norm.*", "final_layer_norm.*"),
    )


_RULES: list[Rule] = [
    rename("embedding.*", "encoder.embed.*"),
    *_stack_rules("encoder"),
    *_stack_rules("decoder"),
    *_predictor_rules("durations", "duration_predictor"),
    *_predictor_rules("variances.predictors.pitch", "pitch_predictor"),
    *_predictor_rules("variances.predictors.energy", "energy_predictor"),
    rename("variances.embeddings.pitch.*", "pitch_embed.conv.*", form=pointwise(1)),
    rename("variances.embeddings.energy.*", "energy_embed.conv.*", form=pointwise(1)),
    rename("head.*", "speech_decoder_postnet.feat_out.*"),
    rename("postnet.convolutions.{n}.*", "speech_decoder_postnet.layers.{n}.conv.*"),
    rename("postnet.norms.{n}.*", "speech_decoder_postnet.layers.{n}.batch_norm.*"),
]

adapter = FastSpeechConformer()
