"""Published weights for a model: from a folder, a file or the hub."""

from typing import Literal

from headway.core.weights.pretrained import from_pretrained
from headway.molecules.models.llama import Llama


def pretrained(
    source: str,
    *,
    vocabulary: Literal["extend", "replace"] = "extend",
    max_length: int | None = None,
) -> Llama:
    """Loads a language model of molecules for fine-tuning; this is what recipes name.

    Args:
        source: A run folder, a folder, a file of tensors, or a name on the hub.
        vocabulary: ``extend`` keeps the tokens of the checkpoint, and training adds those of the data;
            ``replace`` keeps the special tokens alone, for checkpoints of another notation.
        max_length: Most tokens of a molecule; as published if None.
    """
    model = from_pretrained(source)
    assert isinstance(model, Llama)
    if vocabulary == "replace":
        last = max(model.padding, model.start, model.end)
        model.set_vocabulary(model.vocabulary[: last + 1])
    if max_length is not None:
        model.set_max_length(max_length)
    return model
