"""Weights of a run or a published model, for fine-tuning."""

from typing import Any

from headway.core.blocks.block import BlockFactory
from headway.core.errors import UserError
from headway.core.weights.pretrained import from_pretrained
from headway.speech.audio_classifier import AudioClassifier
from headway.speech.encoder import SpeechEncoder
from headway.speech.models.asit import ASiT
from headway.speech.models.earlier import take_notes
from headway.speech.recogniser import Recogniser
from headway.speech.tokenizers import Unit


def pretrained(source: str, *, new_vocabulary: Unit | None = None) -> Recogniser:
    """Loads a recogniser for fine-tuning; this is what recipes name.

    Front end and tokenizer come with it. A vocabulary of characters or words grows by what the training
    texts hold.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        new_vocabulary: ``characters`` or ``words`` of the training texts in the place of the model's own
            tokens, about which all is forgotten. None keeps these.

    Raises:
        UserError: If the source is no recogniser.
    """
    model = from_pretrained(source)
    if not isinstance(model, Recogniser):
        raise UserError(f"{source} is a {type(model).__name__}, not a recogniser of speech")
    take_notes(model, source)
    if new_vocabulary is not None:
        model.begin_vocabulary(new_vocabulary)
        model.load_report = model.load_report.after_changes(model)  # pyright: ignore
    return model


def pretrained_classifier(source: str, *, block: BlockFactory | None = None) -> AudioClassifier:
    """Loads what tells classes of recordings, for fine-tuning; this is what recipes name.

    Of an ``ASiT`` that is the student. It takes the classes of the data. What a block has beside the weights
    of the source, adapters or prompts, is new, and learns whatever is frozen.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        block: Builds a block in the place of the model's, ``(dim, heads, ...)``, such as ``AdaptedBlock``.

    Raises:
        UserError: If the source tells no classes of recordings.
    """
    changes: dict[str, Any] = {} if block is None else {"block": block}
    model: Any = from_pretrained(source, **changes)
    if isinstance(model, ASiT):
        model = model.classifier
    if not isinstance(model, AudioClassifier):
        raise UserError(
            f"{source} is a {type(model).__name__}, which tells no classes of recordings"
        )
    return model


def pretrained_encoder(source: str) -> SpeechEncoder:
    """Loads the encoder of a run or a folder, for any recogniser; this is what recipes name.

    Args:
        source: A run folder or a folder of a model with an encoder of speech.

    Raises:
        UserError: If there is none in it.
    """
    model: Any = from_pretrained(source)
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, SpeechEncoder):
        raise UserError(f"{source} is a {type(model).__name__} without an encoder of speech")
    return encoder
