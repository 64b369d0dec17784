"""From a batch of samples to a batch of features."""

from typing import Any, TypeVar

import torch

from headway.speech.front_ends.front_end import FrontEnd
from headway.speech.front_ends.spec_augment import SpecAugment

Batch = TypeVar("Batch", bound=Any)


@torch.no_grad()
def featured(front_end: FrontEnd, batch: Batch, augment: SpecAugment | None = None) -> Batch:
    """Returns a batch with features in the place of samples.

    Args:
        front_end: Makes them.
        batch: Has ``inputs`` and ``lengths``, as a ``SpeechBatch`` or an ``AudioBatch``.
        augment: Masks parts of the features.
    """
    inputs, lengths = front_end(batch.inputs, batch.lengths)
    if augment is not None:
        inputs = augment(inputs, lengths)
    return batch._replace(inputs=inputs, lengths=lengths)
