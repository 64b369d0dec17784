"""Reading and writing Llama, Mistral and Qwen2 of Hugging Face transformers, 4.x and 5.x."""

from functools import partial
from typing import Any, ClassVar

from headway.core.errors import UserError
from headway.core.feedforward import GLU
from headway.core.language import DecoderLanguageModel, Llama, Mistral, Qwen2
from headway.core.mixers import SelfAttention
from headway.core.norms import RMSNorm
from headway.core.positions import Rotary
from headway.core.weights.language.common import DEFAULTS, DecoderAdapter, rotation
from headway.core.weights.table import Rule, drop, join, rename, under

_RULES = [
    rename("embedding.*", "model.embed_tokens.*"),
    rename("decoder.norm.*", "model.norm.*"),
    rename("head.*", "lm_head.*"),
    *under(
        "decoder.blocks.{n}.",
        "model.layers.{n}.",
        rename("mixer.norm.*", "input_layernorm.*"),
        rename("feedforward.norm.*", "post_attention_layernorm.*"),
        join("mixer.function.qkv.*", [f"self_attn.{part}_proj.*" for part in "qkv"]),
        rename("mixer.function.projection.*", "self_attn.o_proj.*"),
        join("feedforward.function.fc1.*", ["mlp.gate_proj.*", "mlp.up_proj.*"]),
        rename("feedforward.function.fc2.*", "mlp.down_proj.*"),
    ),
    # Buffers that old files hold and every reader computes.
    drop("*rotary_emb.inv_freq"),
]


class HuggingFaceLlama(DecoderAdapter):
    """Recognises ``model_type: llama`` in config.json."""

    name = "Hugging Face Llama"
    model_type = "llama"
    prefix = "model."
    architectures = ("LlamaForCausalLM", "LlamaModel")
    kind: ClassVar[type[DecoderLanguageModel]] = Llama
    # What the published class takes where config.json does not say.
    places: ClassVar[int] = 2048
    key_value_heads: ClassVar[int | None] = None
    # Of transformers' LlamaConfig, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        **DEFAULTS,
        "attention_dropout": 0.0,
        "pretraining_tp": 1,
        "rope_scaling": None,
        "rope_theta": 10000.0,
    }

    def attention(self, config: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments of attention that are those of the kind."""
        biased = bool(config.get("attention_bias", False))
        return {"qkv_bias": biased, "out_bias": biased}

    def mixers(self, config: dict[str, Any], mixer: Any) -> Any:
        """Returns the mixer of all blocks, or a list of one for each."""
        return mixer

    def model(self, config: dict[str, Any], **options: Any) -> DecoderLanguageModel:
        """Returns the model of a configuration."""
        if config.get("hidden_act", "silu") != "silu":
            raise UserError(
                f"a {self.kind.__name__} gates with silu, this one with {config['hidden_act']!r}"
            )
        dim, heads = config["hidden_size"], config["num_attention_heads"]
        mixer = partial(
            SelfAttention,
            causal=True,
            kv_heads=config.get("num_key_value_heads", self.key_value_heads) or heads,
            head_dim=config.get("head_dim") or dim // heads,
            position=partial(Rotary, theta=rotation(config)[0]),
            **self.attention(config),
        )
        return self.kind(
            dim=dim,
            depth=config["num_hidden_layers"],
            heads=heads,
            max_length=config.get("max_position_embeddings", self.places),
            mixer=self.mixers(config, mixer),
            feedforward=partial(
                GLU,
                hidden_dim=config["intermediate_size"],
                bias=bool(config.get("mlp_bias", False)),
            ),
            norm=partial(RMSNorm, eps=float(config.get("rms_norm_eps", 1e-6))),
            tied=bool(config.get("tie_word_embeddings", False)),
            **options,
        )

    def rules(self, model: DecoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return _RULES


class HuggingFaceMistral(HuggingFaceLlama):
    """Recognises ``model_type: mistral`` in config.json."""

    name = "Hugging Face Mistral"
    model_type = "mistral"
    architectures = ("MistralForCausalLM", "MistralModel")
    kind = Mistral
    places = 4096 * 32
    key_value_heads = 8

    def attention(self, config: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments of attention that are those of the kind."""
        return {
            **_windowed(config.get("sliding_window", 4096)),
            "qkv_bias": False,
            "out_bias": False,
        }


class HuggingFaceQwen2(HuggingFaceLlama):
    """Recognises ``model_type: qwen2`` in config.json."""

    name = "Hugging Face Qwen2"
    model_type = "qwen2"
    architectures = ("Qwen2ForCausalLM", "Qwen2Model")
    kind = Qwen2
    places = 32768
    key_value_heads = 32
    vocab_size = 151936
    start = end = None

    def attention(self, config: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments of attention that are those of the kind."""
        return {"qkv_bias": True, "out_bias": False}

    def mixers(self, config: dict[str, Any], mixer: Any) -> Any:
        """Returns the mixer of all blocks, or one for each where some see a window."""
        depth = config["num_hidden_layers"]
        first = config.get("max_window_layers", 28)
        # 5.x lists the kinds of the layers; of 4.x those behind the first few see a window.
        usual = [f"{'sliding' if place >= first else 'full'}_attention" for place in range(depth)]
        kinds = config.get("layer_types") or usual
        window = config.get("sliding_window", 4096)
        if not config.get("use_sliding_window", False) or window is None:
            return mixer
        if "sliding_attention" not in kinds[:depth]:
            return mixer
        seen = {"sliding_attention": partial(mixer, **_windowed(window)), "full_attention": mixer}
        if other := set(kinds) - seen.keys():
            raise UserError(f"layer_types has {min(other)!r}; known: {', '.join(sorted(seen))}")
        return [seen[kind] for kind in kinds[:depth]]


def _windowed(window: int | None) -> dict[str, Any]:
    """Returns the reach of attention: theirs counts the token itself."""
    return {} if window is None else {"window": window - 1}
