"""Language models of transformers: formats that any domain may register in its plugin."""

from headway.core.weights.language.bert import HuggingFaceBert, HuggingFaceRoberta
from headway.core.weights.language.esm import HuggingFaceESM
from headway.core.weights.language.gpt2 import HuggingFaceGPT2
from headway.core.weights.language.gpt_neox import HuggingFaceGPTNeoX
from headway.core.weights.language.llama import (
    HuggingFaceLlama,
    HuggingFaceMistral,
    HuggingFaceQwen2,
)
from headway.core.weights.language.modernbert import HuggingFaceModernBert
from headway.core.weights.language.t5 import HuggingFaceT5
from headway.core.weights.language.xlnet import HuggingFaceXLNet

adapters = (
    HuggingFaceLlama(),
    HuggingFaceMistral(),
    HuggingFaceQwen2(),
    HuggingFaceGPT2(),
    HuggingFaceGPTNeoX(),
    HuggingFaceBert(),
    HuggingFaceRoberta(),
    HuggingFaceESM(),
    HuggingFaceModernBert(),
    HuggingFaceT5(),
    HuggingFaceXLNet(),
)
