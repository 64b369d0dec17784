"""Published weights for a model: from a folder, a file or the hub."""

from typing import Literal

from headway.core.errors import UserError
from headway.core.language import LanguageModel, TextModel
from headway.core.weights.pretrained import from_pretrained
from headway.molecules.models.property_predictor import PropertyPredictor
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
    _prepare(model, vocabulary, max_length)
    return model


def pretrained_predictor(
    source: str,
    *,
    vocabulary: Literal["extend", "replace"] = "extend",
    max_length: int | None = None,
    dropout: float = 0.1,
) -> PropertyPredictor:
    """Loads any model of molecules as texts for learning their properties; this is what recipes name.

    Args:
        source: As of ``pretrained``; encoders will do. What has properties already keeps them where the data
            have the same.
        vocabulary: As of ``pretrained``.
        max_length: As of ``pretrained``.
        dropout: Probability of dropping a pooled channel in training.

    Raises:
        UserError: If the source holds another model.
    """
    found = from_pretrained(source)
    if isinstance(found, TextModel):
        report = found.load_report
        found = PropertyPredictor(backbone=found, dropout=dropout)
        found.load_report = report  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    if not isinstance(found, PropertyPredictor):
        raise UserError(f"{source} holds a {type(found).__name__}, which reads no molecules")
    _prepare(found, vocabulary, max_length)
    return found


def _prepare(model: TextModel | PropertyPredictor, vocabulary: str, max_length: int | None) -> None:
    if vocabulary == "replace":
        last = max(model.tokenizer.specials(), default=-1)
        model.set_vocabulary(model.tokenizer.vocabulary[: last + 1])
    model.set_tokenizer(smiles_tokenizer(model.tokenizer))
    if max_length is not None:
        model.set_max_length(max_length)
