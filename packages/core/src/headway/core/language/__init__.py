"""Language models: tokenizers, what every model of texts can do, causal decoders by name."""

from headway.core.language.conditional import ConditionalLanguageModel, ConditionalParts
from headway.core.language.conditions import ABSENT, ConditionPrefix
from headway.core.language.context import StochasticContext
from headway.core.language.decoder import DecoderLanguageModel, DecoderOptions
from headway.core.language.model import LanguageModel
from headway.core.language.numerals import NumberFormat, number_text, numerals
from headway.core.language.presets import GPT2, GPTNeoX, Llama, LlamaOptions, Mistral, Qwen2
from headway.core.language.subwords import SubwordTokenizer
from headway.core.language.symbols import SymbolTokenizer
from headway.core.language.tokenizer import SPECIALS, NumberedTokens, Tokenizer

__all__ = [
    "ABSENT",
    "GPT2",
    "SPECIALS",
    "ConditionPrefix",
    "ConditionalLanguageModel",
    "ConditionalParts",
    "DecoderLanguageModel",
    "DecoderOptions",
    "GPTNeoX",
    "LanguageModel",
    "Llama",
    "LlamaOptions",
    "Mistral",
    "NumberFormat",
    "NumberedTokens",
    "Qwen2",
    "StochasticContext",
    "SubwordTokenizer",
    "SymbolTokenizer",
    "Tokenizer",
    "number_text",
    "numerals",
]
