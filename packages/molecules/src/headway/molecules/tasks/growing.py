"""A model grows to what the data need, before training starts."""

import logging

from headway.core.language import LanguageModel
from headway.molecules.data import SmilesFile
from headway.molecules.models import PropertyPredictor

log = logging.getLogger(__name__)


def grow(model: LanguageModel | PropertyPredictor, data: SmilesFile) -> None:
    """Lets a model take the tokens and the lengths of the data, which are then encoded by it.

    Args:
        model: The model; what it knew of a token before it keeps.
        data: The molecules, after ``setup``.
    """
    vocabulary = model.tokenizer.vocabulary
    new = model.tokenizer.lacking(data.tokens)
    if new:
        log.info("the vocabulary grows by %d tokens: %s", len(new), " ".join(new))
        model.set_vocabulary((*vocabulary, *new))
    if data.longest > model.max_length:
        log.info("molecules may now have %d tokens instead of %d", data.longest, model.max_length)
        model.set_max_length(data.longest)
    data.use(model.tokenizer)
