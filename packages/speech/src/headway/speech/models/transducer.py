"""The transducer: what is heard and what was written say together what comes next."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.language import Tokenizer
from headway.core.language.vocabulary import renumber
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.decoding import (
    BestSteps,
    Reading,
    TransducerParts,
    beam_transducer,
    greedy_transducer,
    guides_of,
)
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd
from headway.speech.hypothesis import Hypothesis
from headway.speech.layers import JointNetwork, Predictor, RecurrentPredictor
from headway.speech.losses import per_token, transducer_loss
from headway.speech.models.ctc import blank_of
from headway.speech.recogniser import Recogniser
from headway.speech.recognition_stream import Writer
from headway.speech.search import GREEDY, Search
from headway.speech.tokenizers import TextTokenizer, Unit


@system(
    id=None,
    name="RNN transducer",
    paper="https://arxiv.org/abs/1211.3711",
    claim="what was written decides with what is heard what comes next, which CTC cannot know",
    test="packages/speech/tests/models/test_transducer.py",
)
@system(
    id=None,
    name="TDT",
    paper="https://arxiv.org/abs/2304.06795",
    claim="steps that say how many frames they last look at a part of the frames, with the same tokens",
    test="packages/speech/tests/models/test_transducer.py",
)
class Transducer(Recogniser):
    """A recogniser that says at each frame, knowing what it has written, the next token or nothing.

    With ``durations`` every step also says how many frames it moves on (token-and-duration transducer).

    Args:
        encoder: The encoder.
        tokenizer: What the tokens mean; characters if None. It names its ``blank``.
        front_end: What recordings go through; Kaldi's log-mel features, as many as the encoder hears, if
            None.
        predictor: Builds what knows the text so far, ``(dim, entries, blank=)``.
        predictor_dim: Its channels.
        joint: Builds what brings both together, ``(encoded_dim, predicted_dim, entries, durations)``.
        durations: Frames that a step may move on, 0 among them for several tokens at a frame; the usual
            transducer if empty.
        under_normalisation: As of ``transducer_loss``.
        most: Most tokens that begin at one frame.

    Shape:
        inputs: (B, T, F) features or (B, T) samples. lengths: (B,), all T if None. Output: ``Encoded``.

    Raises:
        UserError: If the tokenizer has no blank, or the front end gives what the encoder does not hear.

    Source:
        Graves 2012, https://arxiv.org/abs/1211.3711; Xu et al. 2023, https://arxiv.org/abs/2304.06795.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        tokenizer: Tokenizer | None = None,
        front_end: FrontEnd | None = None,
        predictor: Callable[[int, int], Predictor] = RecurrentPredictor,
        predictor_dim: int = 256,
        joint: Callable[[int, int, int, int], JointNetwork] = JointNetwork,
        durations: Sequence[int] = (),
        under_normalisation: float = 0.0,
        most: int = 10,
    ) -> None:
        super().__init__(encoder=encoder, tokenizer=tokenizer, front_end=front_end)
        if most < 1:
            raise UserError(f"most is {most}; a frame must be able to begin a token")
        self.blank, self.durations, self.most = blank_of(self.tokenizer), tuple(durations), most
        self.under_normalisation = under_normalisation
        make: Any = predictor
        self.predictor: Predictor = make(predictor_dim, len(self.tokenizer), blank=self.blank)
        entries = len(self.tokenizer)
        self.joint = joint(encoder.dim, self.predictor.dim, entries, len(self.durations))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns what is heard; the text is looked for step by step."""
        return self.encode(inputs, lengths)

    def loss(self, batch: SpeechBatch, encoded: Encoded | None = None) -> dict[str, Tensor]:
        """Returns the negative log-probability of a token of the texts, by all their alignments."""
        heard, lengths, *_ = self.encoded(batch, encoded)
        nats = transducer_loss(
            self.joint,
            heard,
            self.predictor(batch.targets),
            batch.targets,
            lengths,
            batch.target_lengths,
            blank=self.blank,
            durations=self.durations,
            under_normalisation=self.under_normalisation,
        )
        return {"loss": per_token(nats, batch.target_lengths)}

    def needed(self, targets: Sequence[int]) -> int:
        """Returns how many frames a text needs: one, unless every token moves on."""
        slowest = min(self.durations, default=0)
        return 1 + slowest * len(targets)

    def parts(self) -> TransducerParts:
        """Returns what writes."""
        return TransducerParts(self.predictor, self.joint, self.blank, self.durations, self.most)

    def writer(self) -> Writer:
        """Returns the best steps while frames come."""
        return StepsWriter(BestSteps(self.parts(), 1, self.device))

    def transcribe(self, encoded: Encoded, *, search: Search = GREEDY) -> list[Hypothesis]:
        """Returns the text of each item: by the best steps, or with all alignments of several texts."""
        parts = self.parts()
        if search.beam == 1:
            found = [[one] for one in greedy_transducer(parts, encoded.encoded, encoded.lengths)]
        else:
            guides = guides_of(search, self.tokenizer)
            found = [
                beam_transducer(
                    parts,
                    item[:length],
                    beams=search.beam,
                    best=search.alternatives,
                    guides=guides,
                )
                for item, length in zip(encoded.encoded, encoded.lengths.tolist(), strict=True)
            ]
        return self.hypotheses(found, encoded)

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        self._take(self.tokenizer.with_vocabulary(vocabulary))

    def begin_vocabulary(self, unit: Unit) -> None:
        """Forgets its tokens and begins a vocabulary of characters or words."""
        self._take(TextTokenizer(unit=unit))

    def get_classifier(self) -> nn.Module:
        """Returns the layer that scores the tokens."""
        return self.joint.out

    def _take(self, new: Tokenizer) -> None:
        old, self.blank = self.tokenizer, blank_of(new)
        renumber(self.predictor.embedding, old, new)
        renumber(self.joint.out, old, new)
        self.predictor.blank = self.blank
        self.take_tokenizer(new)


class StepsWriter:
    """Writes by the best steps.

    Args:
        steps: Of one recording.
    """

    def __init__(self, steps: BestSteps) -> None:
        self.steps = steps

    def add(self, encoded: Tensor) -> None:
        """Goes on with more frames, (1, N, C)."""
        self.steps.add(encoded, torch.tensor([encoded.shape[1]], device=encoded.device))

    def reading(self) -> Reading:
        """Returns what was written so far."""
        return self.steps.readings()[0]
