"""The transducer: what is heard and what was written say together what comes next."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers import JointNetwork, Predictor, RecurrentPredictor
from headway.speech.losses import per_token, transducer_loss
from headway.speech.models.conformer import Conformer, Encoded
from headway.speech.recogniser import Losses, Recogniser
from headway.speech.decoding import (
    Beam,
    Greedy,
    Search,
    TransducerParts,
    beam_transducer,
    greedy_transducer,
)


@system(
    id=None,
    name="RNN transducer",
    paper="https://arxiv.org/abs/1211.3711",
    claim="a token is said from what is heard and what was written, over all alignments; all of them are summed",
    test="packages/speech/tests/models/test_transducer.py",
)
@system(
    id=None,
    name="TDT",
    paper="https://arxiv.org/abs/2304.06795",
    claim="a step says how many frames it lasts, so that decoding looks at fewer of them",
    test="packages/speech/tests/models/test_transducer.py",
)
class Transducer(Recogniser):
    """A recogniser that says at each frame, knowing what it has written, the next token or nothing.

    With ``durations`` every step also says how many frames it moves on (token-and-duration transducer).

    Args:
        front_end: What recordings go through.
        tokenizer: What the entries mean.
        encoder: The encoder.
        predictor: Builds what knows the text so far, ``(dim, entries)``.
        predictor_dim: Its channels.
        joint: Builds what brings both together, ``(encoded_dim, predicted_dim, scores)``.
        durations: Frames that a step may move on, 0 among them for several tokens at a frame; the usual
            transducer if empty.
        under_normalisation: As of ``transducer_loss``.
        most: Most tokens that begin at one frame.

    Source:
        Graves 2012, https://arxiv.org/abs/1211.3711; Xu et al. 2023, https://arxiv.org/abs/2304.06795.
    """

    def __init__(
        self,
        *,
        front_end: Any,
        tokenizer: Tokenizer,
        encoder: Conformer,
        predictor: Callable[[int, int], Predictor] = RecurrentPredictor,
        predictor_dim: int = 256,
        joint: Callable[[int, int, int], JointNetwork] = JointNetwork,
        durations: Sequence[int] = (),
        under_normalisation: float = 0.0,
        most: int = 10,
    ) -> None:
        super().__init__(front_end=front_end, tokenizer=tokenizer, encoder=encoder)
        if most < 1:
            raise UserError(f"most is {most}; a frame must be able to begin a token")
        self.durations, self.most = tuple(durations), most
        self.under_normalisation = under_normalisation
        self.predictor = predictor(predictor_dim, len(tokenizer))
        self.joint = joint(encoder.dim, self.predictor.dim, len(tokenizer) + len(self.durations))

    def loss(self, batch: SpeechBatch) -> Losses:
        """Returns the negative log-probability of a text's token, all alignments summed."""
        encoded, lengths = self.encode(batch.inputs, batch.lengths)
        nats = transducer_loss(
            self.joint,
            encoded,
            self.predictor(batch.targets),
            batch.targets,
            lengths,
            batch.target_lengths,
            blank=self.tokenizer.blank,
            durations=self.durations,
            under_normalisation=self.under_normalisation,
        )
        return {"loss": per_token(nats, batch.target_lengths)}
