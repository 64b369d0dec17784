"""Speech models: encoders over features or waveforms, and recognisers."""

from headway.speech.models.conformer import Conformer, Encoded
from headway.speech.models.ctc import CTC, CTCOutput

__all__ = ["CTC", "CTCOutput", "Conformer", "Encoded"]
