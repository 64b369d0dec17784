"""TERA: an encoder learns from speech alone, by mending what was altered of it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.systems import system
from headway.speech.batch import SpeechBatch
from headway.speech.encoder import Encoded, SpeechEncoder
from headway.speech.front_ends import FrontEnd, KaldiFbank
from headway.speech.front_ends.alterations import (
    Alteration,
    ChannelAlteration,
    MagnitudeAlteration,
    TimeAlteration,
)
from headway.speech.layers.padding import mask_of, zero_beyond
from headway.speech.speech_model import SpeechModel, check_hears


@system(
    id=174,
    name="TERA",
    paper="https://arxiv.org/abs/2007.06028",
    claim="an encoder that mended altered time, channels and magnitude knows more than one that copied",
    test="packages/speech/tests/models/test_tera.py",
)
class TERA(SpeechModel):
    """An encoder with a head that tells the features of a recording from an altered copy.

    Args:
        encoder: The encoder; each of its tokens answers for the steps that it stands for.
        front_end: Features; Kaldi's log-mel, as many as the encoder hears, if None.
        alterations: What is done to the copy, one after the other; those of the paper if None.

    Shape:
        inputs: (B, T, F). lengths: (B,). Output: (B, T', stride * F) and (B,).

    Raises:
        UserError: If the encoder hears samples.

    Source:
        Liu et al. 2020, https://arxiv.org/abs/2007.06028.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        front_end: FrontEnd | None = None,
        alterations: Sequence[Alteration] | None = None,
    ) -> None:
        if encoder.bands is None:
            raise UserError("TERA alters bands of a spectrum, and this encoder hears samples")
        super().__init__(front_end=front_end or KaldiFbank(mels=encoder.bands))
        check_hears(encoder.bands, self.front_end)
        usual = (TimeAlteration(), ChannelAlteration(), MagnitudeAlteration())
        self.alterations = usual if alterations is None else tuple(alterations)
        self.init_args["alterations"] = list(self.alterations)
        self.encoder = encoder
        self.head = nn.Linear(encoder.dim, encoder.stride * encoder.bands)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Returns how many tokens of the encoder items of so many steps give, (B,)."""
        return self.encoder.output_lengths(lengths)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Returns what the head tells at each token of the encoder."""
        encoded, tokens, *_ = self.encoder(inputs, lengths)
        return Encoded(self.head(encoded), tokens)

    def loss(self, batch: SpeechBatch) -> dict[str, Tensor]:
        """Returns the mean absolute error of the features, all of them, from an altered copy."""
        altered = batch.inputs
        for alteration in self.alterations:
            altered = alteration(altered, batch.lengths)
        told, tokens, *_ = self(altered, batch.lengths)
        real = mask_of(tokens, told.shape[1])
        return {"loss": (told - self._stacked(batch, told.shape[1])).abs()[real].mean()}

    def _stacked(self, batch: SpeechBatch, tokens: int) -> Tensor:
        """Returns the features side by side that each token answers for, (B, T', stride * F)."""
        inputs = zero_beyond(batch.inputs, batch.lengths)
        batch_size, steps, bands = inputs.shape
        whole = tokens * self.encoder.stride
        more = inputs.new_zeros(batch_size, max(0, whole - steps), bands)
        stacked = torch.cat((inputs, more), dim=1)[:, :whole]
        return stacked.reshape(batch_size, tokens, -1)
