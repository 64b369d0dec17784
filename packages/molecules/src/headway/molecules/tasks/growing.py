"""A model grows to what the data need, before training starts."""

import logging
from collections.abc import Sequence

from headway.core.errors import UserError
from headway.core.language import LanguageModel
from headway.core.training import Task
from headway.molecules.data import LabelledSmiles, SmilesFile
from headway.molecules.models import PropertyPredictor, RegressionTransformer

log = logging.getLogger(__name__)


def grow(model: LanguageModel | PropertyPredictor, data: SmilesFile) -> None:
    """Lets a model take the tokens and the lengths of the data, which are then encoded by it.

    Args:
        model: The model; what it knew of a token before it keeps.
        data: The molecules, after ``setup``.
    """
    grow_vocabulary(model, data)
    if data.longest > model.max_length:
        log.info("molecules may now have %d tokens instead of %d", data.longest, model.max_length)
        model.set_max_length(data.longest)


def grow_vocabulary(
    model: LanguageModel | PropertyPredictor | RegressionTransformer, data: SmilesFile
) -> None:
    """Lets a model take the tokens of the data, which are then encoded by it; arguments as of ``grow``."""
    vocabulary = model.tokenizer.vocabulary
    new = model.tokenizer.lacking(data.tokens)
    if new:
        log.info("the vocabulary grows by %d tokens: %s", len(new), " ".join(new))
        model.set_vocabulary((*vocabulary, *new))
    data.use(model.tokenizer)


def encode(task: Task, model: LanguageModel | PropertyPredictor | RegressionTransformer) -> None:
    """Lets the data of a task be cut by the vocabulary of a model, which a checkpoint has changed.

    Raises:
        UserError: If the data have tokens that it lacks.
    """
    data = getattr(task.trainer, "datamodule", None)
    if not isinstance(data, SmilesFile):
        return
    if lacking := model.tokenizer.lacking(data.tokens):
        shown = " ".join(lacking[:20])
        raise UserError(
            f"the checkpoint knows {len(model.tokenizer)} tokens, but not {len(lacking)} of these data: "
            f"{shown}; begin a new run with the weights of the old one (--model.backbone.source RUN)"
        )
    data.use(model.tokenizer)


def labelled_data(task: Task, properties: Sequence[str]) -> LabelledSmiles | None:
    """Returns the labelled molecules that a task is set up with; None for other data.

    Args:
        task: The task.
        properties: Of its model.

    Raises:
        UserError: If the data have other properties.
    """
    data = getattr(task.trainer, "datamodule", None)
    if not isinstance(data, LabelledSmiles):
        return None
    data.check_properties(properties)
    return data
