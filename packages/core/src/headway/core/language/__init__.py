"""Language models: tokenizers, what every model of texts can do, decoders and encoders by name."""

from headway.core.language.conditional import ConditionalLanguageModel, ConditionalParts
from headway.core.language.conditions import ABSENT, ConditionPrefix
from headway.core.language.context import StochasticContext
from headway.core.language.decoder import DecoderLanguageModel, DecoderOptions
from headway.core.language.encoder import (
    EncoderLanguageModel,
    EncoderOptions,
    MaskedHead,
    TokenHead,
)
from headway.core.language.encoders import Bert, Esm2, ModernBert, Roberta
from headway.core.language.masked_diffusion import MaskedDiffusion, MaskedDiffusionOptions
from headway.core.language.model import LanguageModel
from headway.core.language.numerals import NumberFormat, number_text, numerals
from headway.core.language.presets import (
    GPT2,
    GPT2Options,
    GPTNeoX,
    Llama,
    LlamaOptions,
    Mistral,
    Qwen2,
)
from headway.core.language.subwords import SubwordTokenizer
from headway.core.language.symbols import SymbolTokenizer
from headway.core.language.t5 import T5
from headway.core.language.text import TextModel
from headway.core.language.text_embedding import MaskScaledEmbedding, TextEmbedding
from headway.core.language.tokenizer import (
    SPECIALS,
    NumberedTokens,
    OtherTokens,
    SpecialTokens,
    Tokenizer,
    TokenizerOptions,
)
from headway.core.language.xlnet import XLNet

__all__ = [
    "ABSENT",
    "GPT2",
    "SPECIALS",
    "T5",
    "Bert",
    "ConditionPrefix",
    "ConditionalLanguageModel",
    "ConditionalParts",
    "DecoderLanguageModel",
    "DecoderOptions",
    "EncoderLanguageModel",
    "EncoderOptions",
    "Esm2",
    "GPT2Options",
    "GPTNeoX",
    "LanguageModel",
    "Llama",
    "LlamaOptions",
    "MaskScaledEmbedding",
    "MaskedDiffusion",
    "MaskedDiffusionOptions",
    "MaskedHead",
    "Mistral",
    "ModernBert",
    "NumberFormat",
    "NumberedTokens",
    "OtherTokens",
    "Qwen2",
    "Roberta",
    "SpecialTokens",
    "StochasticContext",
    "SubwordTokenizer",
    "SymbolTokenizer",
    "TextEmbedding",
    "TextModel",
    "TokenHead",
    "Tokenizer",
    "TokenizerOptions",
    "XLNet",
    "number_text",
    "numerals",
]
