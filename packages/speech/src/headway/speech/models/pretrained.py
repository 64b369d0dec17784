"""Weights of a run or a published model, for fine-tuning."""

from headway.core.errors import UserError
from headway.core.weights.preprocessing import note, read_preprocessing
from headway.core.weights.pretrained import from_pretrained
from headway.speech.models.ctc import CTC


def pretrained(source: str, *, vocab_size: int | None = None) -> CTC:
    """Loads a recogniser for fine-tuning; this is what recipes name.

    The model's ``pretrained_cfg`` then says what recordings go through and, unless there is a new head,
    what the entries of the vocabulary are; the data module follows it.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        vocab_size: Entries of a new vocabulary, the blank counted: the head is then a new one, even where
            the number is the old one. None keeps head and vocabulary.

    Raises:
        UserError: If the source is no recogniser.
    """
    model = from_pretrained(source)
    if not isinstance(model, CTC):
        raise UserError(f"{source} is a {type(model).__name__}, not a recogniser with a CTC head")
    model.pretrained_cfg = {**model.pretrained_cfg, **_notes(source)}
    if vocab_size is not None:
        model.set_vocab_size(vocab_size)
        model.load_report = model.load_report.after_changes(model)  # pyright: ignore
    return model


def _notes(source: str) -> dict[str, object]:
    """Returns front end and tokenizer of preprocessing.json, where the source has one."""
    notes = read_preprocessing(source)
    found = {name: note(notes, name, dict, source) for name in ("frontend", "tokenizer")}
    return {name: value for name, value in found.items() if value is not None}
