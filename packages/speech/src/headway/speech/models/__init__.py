"""Speech models: encoders over features or waveforms, and recognisers."""

from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.models.conformer import Conformer
from headway.speech.models.ctc import CTC, CTCOutput
from headway.speech.models.ctc_attention import CTCAttention
from headway.speech.models.paraformer import Paraformer, ParallelDecoder
from headway.speech.models.pretrained import pretrained
from headway.speech.models.transducer import Transducer
from headway.speech.recogniser import Recogniser

__all__ = [
    "CTC",
    "CTCAttention",
    "CTCOutput",
    "Conformer",
    "Encoded",
    "Paraformer",
    "ParallelDecoder",
    "Recogniser",
    "SpeechEncoder",
    "Transducer",
    "list_models",
    "pretrained",
]


def list_models() -> list[str]:
    """Returns the names that ``headway ls models`` shows."""
    return ["CTC", "CTCAttention", "Conformer", "Paraformer", "Transducer"]
