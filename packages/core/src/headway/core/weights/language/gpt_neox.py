"""Reading and writing GPT-NeoX (Pythia) of Hugging Face transformers."""

from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from headway.core.blocks import ParallelBlock, PreNormBlock
from headway.core.feedforward import MLP
from headway.core.language import DecoderLanguageModel, GPTNeoX
from headway.core.mixers import SelfAttention
from headway.core.norms import LayerNorm
from headway.core.positions import Rotary
from headway.core.weights.language.common import DEFAULTS, DecoderAdapter, rotation
from headway.core.weights.language.gpt2 import activation
from headway.core.weights.table import Reshaped, Rule, drop, rename, under


class HuggingFaceGPTNeoX(DecoderAdapter):
    """Recognises ``model_type: gpt_neox`` in config.json."""

    name = "Hugging Face GPT-NeoX"
    model_type = "gpt_neox"
    prefix = "gpt_neox."
    architectures = ("GPTNeoXForCausalLM", "GPTNeoXModel")
    vocab_size, start, end = 50432, 0, 2
    defaults: ClassVar[dict[str, Any]] = {**DEFAULTS, "rope_scaling": None}
    harmless = ("classifier_dropout",)

    def model(self, config: dict[str, Any], **options: Any) -> DecoderLanguageModel:
        """Returns the model of a configuration."""
        theta, share = rotation(config, 0.25)
        biased = bool(config.get("attention_bias", True))
        parallel = bool(config.get("use_parallel_residual", True))
        return GPTNeoX(
            dim=config["hidden_size"],
            depth=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            max_length=config.get("max_position_embeddings", 2048),
            mixer=partial(
                SelfAttention,
                causal=True,
                position=partial(Rotary, theta=theta, share=share),
                qkv_bias=biased,
                out_bias=biased,
                dropout=float(config.get("attention_dropout", 0.0)),
                out_dropout=float(config.get("hidden_dropout", 0.0)),
            ),
            feedforward=partial(
                MLP,
                hidden_dim=config["intermediate_size"],
                activation=activation(config.get("hidden_act", "gelu")),
            ),
            norm=partial(LayerNorm, eps=float(config.get("layer_norm_eps", 1e-5))),
            block=partial(ParallelBlock, shared_norm=False) if parallel else PreNormBlock,
            tied=bool(config.get("tie_word_embeddings", False)),
            **options,
        )

    def rules(self, model: DecoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        block = model.decoder.blocks[0]
        parallel = isinstance(block, ParallelBlock)
        heads = model.init_args["heads"]
        norm, other, inner = (
            ("norm", "feedforward_norm", "")
            if parallel
            else ("mixer.norm", "feedforward.norm", "function.")
        )
        return [
            rename("embedding.*", "gpt_neox.embed_in.*"),
            rename("decoder.norm.*", "gpt_neox.final_layer_norm.*"),
            rename("head.*", "embed_out.*", "lm_head.*"),
            *under(
                "decoder.blocks.{n}.",
                "gpt_neox.layers.{n}.",
                drop("attention.bias", "attention.masked_bias", "attention.rotary_emb.inv_freq"),
                rename(f"{norm}.*", "input_layernorm.*"),
                rename(f"{other}.*", "post_attention_layernorm.*"),
                rename(f"mixer.{inner}qkv.*", "attention.query_key_value.*", form=by_heads(heads)),
                rename(f"mixer.{inner}projection.*", "attention.dense.*"),
                rename(f"feedforward.{inner}fc1.*", "mlp.dense_h_to_4h.*"),
                rename(f"feedforward.{inner}fc2.*", "mlp.dense_4h_to_h.*"),
            ),
        ]


def by_heads(heads: int) -> Reshaped:
    """Returns the form of queries, keys and values that stand side by side in each head.

    Args:
        heads: Heads.
    """

    def read(value: Tensor) -> Tensor:
        return value.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2).contiguous()

    def write(value: Tensor) -> Tensor:
        return value.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2).contiguous()

    return Reshaped(read, write)
