"""A trained recogniser, ready to transcribe."""

from headway.core.cli.device import choose_device
from headway.core.errors import UserError
from headway.core.language import NumberedTokens
from headway.speech.models import Recogniser, pretrained


def load_recogniser(source: str, device: str | None = None) -> Recogniser:
    """Loads a run folder, a checkpoint, a directory or a hub id, in evaluation mode.

    Raises:
        UserError: If the source is no recogniser, or does not say what its tokens mean.
    """
    model = pretrained(source)
    if isinstance(model.tokenizer, NumberedTokens):
        raise UserError(
            f"{source} does not say what its tokens mean; a Hugging Face folder has vocab.json or "
            "tokenizer.json"
        )
    if not model.front_end.complete:
        raise UserError(f"{source} was never trained: its front end has measured no recording")
    return model.eval().to(choose_device(device))
