"""Properties of molecules, read by a head on top of any language model."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.heads import AveragePooling, ClassificationHead
from headway.core.heads.pooling import PoolingLayer
from headway.core.language import TextModel, Tokenizer
from headway.core.layout import Layout
from headway.core.module import Module

REGRESSION, CLASSIFICATION = "regression", "classification"


class Predictor(Module):
    """Says properties of molecules; a subclass says from what.

    Attributes:
        properties: Kind of each property by its name.
        head: Reads the properties from the tokens of a molecule.
    """

    mean: Tensor
    scale: Tensor
    classes: Tensor
    properties: dict[str, str]
    head: ClassificationHead

    def answer(self, *inputs: Tensor) -> Tensor:
        """Returns logits of classes and numbers in units of their deviation, of a batch of molecules.

        Args:
            *inputs: What a batch has beside its labels.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement answer")

    def predict(self, *inputs: Tensor) -> Tensor:
        """Returns the numbers in their own units and the probabilities of the classes, (B, properties).

        Args:
            *inputs: What a batch has beside its labels.
        """
        return self.answered(self.answer(*inputs))

    def answered(self, answers: Tensor) -> Tensor:
        """Returns what ``forward`` says as numbers in their own units and probabilities."""
        return torch.where(self.classes, answers.sigmoid(), answers * self.scale + self.mean)

    def standardised(self, labels: Tensor) -> Tensor:
        """Returns labels as ``forward`` answers them: classes as they are, numbers in their deviation."""
        return (labels - self.mean) / self.scale

    def constants(self) -> dict[str, Tensor]:
        """Returns which properties are classes."""
        kinds = [kind == CLASSIFICATION for kind in self.properties.values()]
        return {"classes": torch.tensor(kinds, dtype=torch.bool)}

    def set_properties(self, properties: Mapping[str, str]) -> None:
        """Takes other properties, about which nothing was learned.

        Args:
            properties: Kind of each by its name.
        """
        place = self.mean.device
        self._take(properties)
        self.to(place)

    def set_statistics(self, mean: Tensor, scale: Tensor) -> None:
        """Takes what the properties are like in the training part.

        Args:
            mean: Of each property, 0 for classes.
            scale: Deviation of each, 1 for classes and for what is always the same.
        """
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def _take(self, properties: Mapping[str, str]) -> None:
        for name, kind in properties.items():
            if kind not in (REGRESSION, CLASSIFICATION):
                raise UserError(
                    f"the property {name} is of kind {kind!r}; it is {REGRESSION} or {CLASSIFICATION}"
                )
        self.properties = self.init_args["properties"] = dict(properties)
        self.head.reset(len(properties))
        self.register_buffer("mean", torch.zeros(len(properties)))
        self.register_buffer("scale", torch.ones(len(properties)))
        self.register_constants()


class PropertyPredictor(Predictor):
    """Pools what a language model says of the tokens of a molecule, and reads its properties from that.

    A property is a number (``regression``) or the probability of a class (``classification``). Numbers are
    learned in units of their deviation in the training part, which is saved with the weights.

    Args:
        backbone: A ``TextModel``: a causal decoder, or an encoder.
        properties: Kind of each property by its name; none before the data say which (``set_properties``).
        pooling: Builds the pooling over real tokens, ``(width,)``.
        dropout: Probability of dropping a pooled channel in training.

    Shape:
        tokens: (B, T) int64. lengths: (B,). Output: (B, properties), logits of classes and numbers in units
        of their deviation.

    Raises:
        UserError: If the backbone is none, or a kind is not known.

    Source:
        Radford et al. 2018, https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf,
        section 3.2; with the average of the tokens in the place of the last one.
    """

    def __init__(
        self,
        *,
        backbone: nn.Module,
        properties: Mapping[str, str] | None = None,
        pooling: Callable[[int], PoolingLayer] = AveragePooling,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not isinstance(backbone, TextModel):
            raise UserError(
                f"properties are read from a model of texts, got a {type(backbone).__name__}"
            )
        self.backbone = backbone
        self.head = ClassificationHead(backbone.width, 0, pooling=pooling, dropout=dropout)
        self._take(properties or {})

    def forward(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns logits of classes and numbers in units of their deviation.

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row; all if None.
        """
        layout = Layout(lengths=lengths) if lengths is not None else None
        return self.head(self.backbone.features(tokens, lengths=lengths), layout)

    def answer(self, *inputs: Tensor) -> Tensor:
        """Returns what ``forward`` does, of tokens and lengths."""
        tokens, *lengths = inputs
        return self(tokens, lengths=lengths[0] if lengths else None)

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        self.backbone.set_vocabulary(vocabulary)

    def set_max_length(self, max_length: int) -> None:
        """Allows molecules of another length, as far as the backbone does."""
        self.backbone.set_max_length(max_length)

    def set_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Takes another way to cut molecules into the same tokens."""
        self.backbone.set_tokenizer(tokenizer)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the backbone."""
        return self.backbone.tokenizer

    @property
    def max_length(self) -> int:
        """Most tokens of a molecule, start and end included."""
        return self.backbone.max_length
