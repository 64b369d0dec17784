"""Classes of recordings by the mean of what an encoder of speech hears."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.speech.audio_classifier import AudioClassifier, checked_classes
from headway.speech.encoder import SpeechEncoder
from headway.speech.front_ends import FrontEnd, KaldiFbank, Waveform
from headway.speech.layers.padding import zero_beyond
from headway.speech.models.wav2vec2 import Wav2Vec2
from headway.speech.speech_model import check_hears


class SpeechClassifier(AudioClassifier):
    """A projection of each token of an encoder, their mean over a recording, and a classifier.

    Args:
        encoder: The encoder; a ``Wav2Vec2`` where ``every_layer`` is read.
        classes: Names of the classes; data bring their own.
        front_end: What recordings go through; what the encoder hears if None.
        dim: Channels of the projection.
        every_layer: Whether a learned mean of what goes into the first block and what comes out of each is
            read, in the place of the encoder's answer.

    Shape:
        inputs: (B, S) samples or (B, T, bands). lengths: (B,). Output: (B, classes).

    Raises:
        UserError: If the front end gives what the encoder does not hear, or the encoder has no layers.

    Source:
        Yang et al. 2021 (SUPERB), https://arxiv.org/abs/2105.01051, section 4.
    """

    def __init__(
        self,
        *,
        encoder: SpeechEncoder,
        classes: Sequence[str] = (),
        front_end: FrontEnd | None = None,
        dim: int = 256,
        every_layer: bool = False,
    ) -> None:
        if front_end is None:
            front_end = Waveform() if encoder.bands is None else KaldiFbank(mels=encoder.bands)
        super().__init__(classes=classes, front_end=front_end)
        check_hears(encoder.bands, front_end)
        if dim < 1:
            raise UserError(f"dim is {dim}; it must be at least 1")
        self.encoder = encoder
        self.weights: nn.Parameter | None = None
        if every_layer:
            if not isinstance(encoder, Wav2Vec2):
                raise UserError(
                    f"every_layer is read of a Wav2Vec2, and this encoder is a {type(encoder).__name__}"
                )
            count = len(encoder.encoder.blocks) + 1
            self.weights = nn.Parameter(torch.full((count,), 1 / count))
        self.projection = nn.Linear(encoder.dim, dim)
        self.classifier = nn.Linear(dim, len(self.classes))

    def forward(self, inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits."""
        if self.weights is None:
            x, tokens, *_ = self.encoder(inputs, lengths)
        else:
            assert isinstance(self.encoder, Wav2Vec2)
            layers, tokens = self.encoder.layers(inputs, lengths)
            shares = self.weights.softmax(dim=0)
            x = sum(
                (share * one for share, one in zip(shares, layers, strict=True)), shares.sum() * 0
            )
        x = zero_beyond(self.projection(x), tokens)
        return self.classifier(x.sum(dim=1) / tokens[:, None].to(x.dtype))

    def get_classifier(self) -> nn.Module:
        """Returns the layer that computes the scores."""
        return self.classifier

    def set_classes(self, classes: Sequence[str]) -> None:
        """Takes other classes, and begins a classifier for them."""
        self.classes = self.init_args["classes"] = checked_classes(classes)
        old = self.classifier.weight
        self.classifier = nn.Linear(self.classifier.in_features, len(self.classes))
        self.classifier.to(old.device, old.dtype)
