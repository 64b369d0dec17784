"""Speech models: encoders over features or waveforms, and recognisers."""

from headway.speech.models.conformer import Conformer, Encoded
from headway.speech.models.ctc import CTC, CTCOutput
from headway.speech.models.pretrained import pretrained

__all__ = ["CTC", "CTCOutput", "Conformer", "Encoded", "list_models", "pretrained"]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return ["CTC", "Conformer"]
