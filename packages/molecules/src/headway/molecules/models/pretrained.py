"""Published weights for a model: from a folder, a file or the hub."""

from typing import Literal

from headway.core.errors import UserError
from headway.core.language import LanguageModel
from headway.core.weights.pretrained import from_pretrained
from headway.molecules.notation import smiles_tokenizer


def pretrained(
    source: str,
    *,
    vocabulary: Literal["extend", "replace"] = "extend",
    max_length: int | None = None,
) -> LanguageModel:
    """Loads a language model of molecules for fine-tuning; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        vocabulary: ``extend`` keeps the tokens of the checkpoint, and training adds those of the data;
            ``replace`` keeps the special tokens alone, for checkpoints of another notation.
        max_length: Most tokens of a molecule; as published if None.

    Raises:
        UserError: If the source holds no language model.
    """
    model = from_pretrained(source)
    if not isinstance(model, LanguageModel):
        raise UserError(f"{source} holds a {type(model).__name__}, which is no language model")
    if vocabulary == "replace":
        last = max(model.tokenizer.specials(), default=-1)
        model.set_vocabulary(model.vocabulary[: last + 1])
    model.set_tokenizer(smiles_tokenizer(model.tokenizer))
    if max_length is not None:
        model.set_max_length(max_length)
    return model
