"""The Llama decoder as a language model of molecules."""

from collections.abc import Mapping
from typing import Any, ClassVar

from headway.core import language
from headway.core.language import Tokenizer
from headway.molecules.notation import SmilesTokenizer

# What an earlier release had as arguments of the model itself.
_OF_TOKENIZER = ("vocabulary", "padding", "start", "end")


class Llama(language.Llama):
    """The Llama decoder over SMILES, cut atom by atom unless another tokenizer is given.

    Other decoders (``headway.core.language``: GPT2, Mistral, Qwen2, GPTNeoX, or parts of your own) take the
    same tokenizers.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = SmilesTokenizer

    @classmethod
    def arguments_today(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Returns arguments with the vocabulary in a tokenizer, where earlier releases had it beside."""
        found = {name: value for name, value in arguments.items() if name not in _OF_TOKENIZER}
        told = {name: arguments[name] for name in _OF_TOKENIZER if name in arguments}
        if told:
            path = f"{SmilesTokenizer.__module__}.{SmilesTokenizer.__name__}"
            found["tokenizer"] = {"class_path": path, "init_args": told}
        return found
