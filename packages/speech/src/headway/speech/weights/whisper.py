"""Reading and writing Whisper of Hugging Face transformers, 4.x and 5.x."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.tokenizers import read_tokenizer, written_tokenizer
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Rule, Table, combine, rename, under
from headway.speech.front_ends import WhisperMel
from headway.speech.models.whisper import Whisper
from headway.speech.weights.processors import read_beside, read_processor

# Of a published vocabulary: with more tokens, the model knows languages.
ENGLISH = 51864


class HuggingFaceWhisper:
    """Recognises ``model_type: whisper`` in config.json."""

    name = "Hugging Face Whisper"
    architectures = ("WhisperForConditionalGeneration", "WhisperModel")
    # Of transformers' WhisperConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "is_encoder_decoder": True,
        "scale_embedding": False,
        "use_weighted_layer_sum": False,
        "tie_word_embeddings": True,
        "is_decoder": False,
        "add_cross_attention": False,
    }
    # Of training, of other heads, and what the special tokens say themselves.
    harmless = (
        "activation_dropout", "apply_spec_augment", "attention_dropout", "classifier_proj_size",
        "decoder_layerdrop", "encoder_layerdrop", "forced_decoder_ids", "init_std",
        "mask_feature_length", "mask_feature_min_masks", "mask_feature_prob", "mask_time_length",
        "mask_time_min_masks", "mask_time_prob", "median_filter_width", "num_hidden_layers",
        "bos_token_id", "eos_token_id", "pad_token_id",
    )  # fmt: skip

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model."""
        return (checkpoint.config or {}).get("model_type") == "whisper"

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json and its neighbours describe.

        Raises:
            UserError: If it asks for parts that are not here.
        """
        config, size = checkpoint.config or {}, _size(checkpoint)
        told = {**config, **read_beside(checkpoint, "generation_config.json")}
        act = config.get("activation_function", "gelu")
        if act != "gelu":
            raise UserError(f"the activation {act!r} of this Whisper is not here; only gelu is")
        heads = _same(config, "encoder_attention_heads", "decoder_attention_heads", 6)
        return Whisper(
            tokenizer=read_tokenizer(
                checkpoint, size, bos_token_id=50257, eos_token_id=50257, pad_token_id=50257
            ),
            front_end=_front_end(checkpoint),
            dim=config.get("d_model", 384),
            depth=config.get("encoder_layers", 4),
            decoder_depth=config.get("decoder_layers", 4),
            heads=heads,
            hidden_dim=_same(config, "encoder_ffn_dim", "decoder_ffn_dim", 1536),
            max_length=config.get("max_target_positions", 448),
            multilingual=bool(told.get("is_multilingual", size > ENGLISH)),
            suppressed=_tokens(told, "suppress_tokens", size),
            begin_suppressed=_tokens(told, "begin_suppress_tokens", size),
            alignment_heads=[tuple(pair) for pair in told.get("alignment_heads") or ()],
            dropout=float(config.get("dropout", 0.0)),
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json of a model with another vocabulary, and the file that has its tokens."""
        assert isinstance(model, Whisper)
        expected = self.build(checkpoint, {})
        assert isinstance(expected, Whisper)
        if expected.tokenizer.vocabulary == model.tokenizer.vocabulary:
            return {}
        values = {"vocab_size": (len(model.tokenizer), 51865)}
        return {
            "config.json": with_changes(checkpoint.config, values),
            **written_tokenizer(checkpoint, model.tokenizer),
        }

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; the head is the embedding."""
        return Table(
            *_ends(),
            *_stack("encoder"),
            *_stack("decoder"),
            *under(
                "decoder.decoder.blocks.{n}.cross.",
                "model.decoder.layers.{n}.",
                rename("norm.*", "encoder_attn_layer_norm.*"),
                rename("function.q.*", "encoder_attn.q_proj.*"),
                *_fused("function.kv", "encoder_attn", "kv"),
                rename("function.projection.*", "encoder_attn.out_proj.*"),
            ),
            tied={"decoder.head.weight": "decoder.embedding.weight"},
        )


def _ends() -> list[Rule]:
    """Returns the rules of what stands in front of the stacks and behind them."""
    return [
        rename("encoder.stem.conv1.*", "model.encoder.conv1.*"),
        rename("encoder.stem.conv2.*", "model.encoder.conv2.*"),
        rename("encoder.position", "model.encoder.embed_positions.weight"),
        rename("encoder.encoder.norm.*", "model.encoder.layer_norm.*"),
        rename("decoder.embedding.*", "model.decoder.embed_tokens.*"),
        rename("decoder.position.*", "model.decoder.embed_positions.*"),
        rename("decoder.decoder.norm.*", "model.decoder.layer_norm.*"),
        rename("decoder.head.*", "proj_out.*"),
    ]


def _stack(side: str) -> list[Rule]:
    """Returns the rules of self-attention and feed-forward of ``encoder`` or ``decoder``."""
    ours = "encoder.encoder" if side == "encoder" else "decoder.decoder"
    return under(
        f"{ours}.blocks.{{n}}.",
        f"model.{side}.layers.{{n}}.",
        rename("mixer.norm.*", "self_attn_layer_norm.*"),
        *_fused("mixer.function.qkv", "self_attn", "qkv"),
        rename("mixer.function.projection.*", "self_attn.out_proj.*"),
        rename("feedforward.norm.*", "final_layer_norm.*"),
        rename("feedforward.function.fc1.*", "fc1.*"),
        rename("feedforward.function.fc2.*", "fc2.*"),
    )


def _fused(ours: str, theirs: str, parts: str) -> list[Rule]:
    """Returns the rules of a fused projection, in which keys have no bias."""
    biased = [part for part in parts if part != "k"]

    def read(*biases: Tensor) -> Tensor:
        found = dict(zip(biased, biases, strict=True))
        return torch.cat([found.get(part, torch.zeros_like(biases[-1])) for part in parts])

    def write(bias: Tensor) -> tuple[Tensor, ...]:
        sections = dict(zip(parts, bias.chunk(len(parts)), strict=True))
        return tuple(sections[part] for part in biased)

    return [
        combine(
            [f"{ours}.weight"],
            [f"{theirs}.{part}_proj.weight" for part in parts],
            read=lambda *weights: torch.cat(weights),
            write=lambda weight: weight.chunk(len(parts)),
        ),
        combine(
            [f"{ours}.bias"],
            [f"{theirs}.{part}_proj.bias" for part in biased],
            read=read,
            write=write,
        ),
    ]


def _front_end(checkpoint: Checkpoint) -> WhisperMel:
    """Returns what preprocessor_config.json asks for.

    Raises:
        UserError: If it is no spectrogram of Whisper.
    """
    config, notes = checkpoint.config or {}, read_processor(checkpoint)
    usual = {"sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    for name, value in usual.items():
        if notes.get(name, value) != value:
            raise UserError(
                f"preprocessor_config.json has {name} {notes[name]!r}; Whisper's is {value}"
            )
    return WhisperMel(
        mels=config.get("num_mel_bins", 80), seconds=config.get("max_source_positions", 1500) / 50
    )


def _size(checkpoint: Checkpoint) -> int:
    return (checkpoint.config or {}).get("vocab_size", 51865)


def _same(config: dict[str, Any], one: str, other: str, usual: int) -> int:
    """Returns what holds for encoder and decoder.

    Raises:
        UserError: If it is not the same.
    """
    first, second = config.get(one, usual), config.get(other, usual)
    if first != second:
        raise UserError(
            f"{one} is {first} and {other} {second}; encoder and decoder are alike here"
        )
    return first


def _tokens(told: dict[str, Any], name: str, size: int) -> tuple[int, ...]:
    """Returns a list of tokens without those that the vocabulary lacks; -1 stands for none."""
    return tuple(token for token in told.get(name) or () if 0 <= token < size)


adapter = HuggingFaceWhisper()
