"""Language models: tokenizers, what every model of texts can do, causal decoders by name."""

from headway.core.language.decoder import DecoderLanguageModel, DecoderOptions
from headway.core.language.model import LanguageModel
from headway.core.language.presets import GPT2, GPTNeoX, Llama, LlamaOptions, Mistral, Qwen2
from headway.core.language.subwords import SubwordTokenizer
from headway.core.language.text import TextModel
from headway.core.language.tokenizer import SPECIALS, NumberedTokens, Tokenizer

__all__ = [
    "GPT2",
    "SPECIALS",
    "DecoderLanguageModel",
    "DecoderOptions",
    "GPTNeoX",
    "LanguageModel",
    "Llama",
    "LlamaOptions",
    "Mistral",
    "NumberedTokens",
    "Qwen2",
    "SubwordTokenizer",
    "TextModel",
    "Tokenizer",
]
