"""The Joint Transformer: one stack that writes molecules, encodes them and predicts their properties."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypedDict

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.errors import UserError
from headway.core.feedforward import SwiGLU
from headway.core.generation import Sampling
from headway.core.init import init_transformer_
from headway.core.language import SPECIALS, DecoderLanguageModel, Tokenizer
from headway.core.language.presets import RotaryAttention
from headway.core.mixers import SelfAttention, TokenMixer
from headway.core.module import evaluating
from headway.core.norms import RMSNorm
from headway.core.passed import Passed
from headway.core.systems import system
from headway.molecules.notation import SmilesTokenizer


class _BesideTokenizer(TypedDict, total=False):
    dim: int
    depth: int
    heads: int
    max_length: int
    dropout: float
    drop_path: float


class Proposals(NamedTuple):
    """Molecules that were kept, the best first.

    Args:
        tokens: (count, longest), start and end included.
        lengths: (count,).
        predicted: The properties that the model expects, (count, P).
    """

    tokens: Tensor
    lengths: Tensor
    predicted: Tensor


@system(
    id=505,
    name="Joint Transformer",
    paper="https://arxiv.org/abs/2310.02066",
    claim="one stack writes, encodes and predicts; what it writes and expects to be good is better than what "
    "it writes",
    test="packages/molecules/tests/models/test_joint_transformer.py",
)
class JointTransformer(DecoderLanguageModel):
    """A decoder whose causal mask is lifted where it reads: the same weights write and understand.

    ``tasks.JointModeling`` trains the next token, hidden tokens and properties together; ``propose`` writes,
    predicts and keeps the best.

    Args:
        tokenizer: Has a mask; of SMILES, atom by atom, if None.
        properties: Names of the numbers that it predicts.
        mixer: As of every ``DecoderLanguageModel``; it must be ``SelfAttention``.
        feedforward: As of every ``DecoderLanguageModel``.
        norm: As of every ``DecoderLanguageModel``.
        **options: As of every ``DecoderLanguageModel``.

    Attributes:
        statistics: Mean and deviation of each property in training, (2, P).
        seen: Molecules that they were taken of; 0 until they are set.

    Shape:
        As of every ``DecoderLanguageModel``.

    Raises:
        UserError: If the mixer's mask cannot be lifted, or the tokenizer has no mask.

    Source:
        Izdebski et al. 2023, https://arxiv.org/abs/2310.02066.
    """

    statistics: Tensor
    seen: Tensor

    def __init__(
        self,
        *,
        tokenizer: Tokenizer | None = None,
        properties: Sequence[str] = ("QED",),
        mixer: MixerFactories = RotaryAttention,
        feedforward: FeedForwardFactory = SwiGLU,
        norm: Callable[[int], nn.Module] = RMSNorm,
        **options: Passed[_BesideTokenizer],
    ) -> None:
        parts = {"mixer": mixer, "feedforward": feedforward, "norm": norm}
        if tokenizer is None:
            tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, "<mask>"), mask=len(SPECIALS))
        super().__init__(tokenizer=tokenizer, **parts, **options)
        if self.tokenizer.mask is None or self.tokenizer.start is None:
            raise UserError("the tokenizer has no mask or no start; a Joint Transformer needs both")
        wrong = [m for m in self.decoder.modules() if isinstance(m, TokenMixer) and not _lifts(m)]
        if wrong:
            raise UserError(
                f"the causal mask of {type(wrong[0]).__name__} cannot be lifted; choose SelfAttention "
                "without window and chunks"
            )
        self._expect(properties)

    def set_properties(self, properties: Sequence[str]) -> None:
        """Predicts other properties, about which nothing is learned yet."""
        place = self.statistics
        self._expect(properties)
        self.to(place.device, place.dtype)
        self.init_args["properties"] = self.properties

    def _expect(self, properties: Sequence[str]) -> None:
        self.properties = tuple(properties)
        dim, count = self.embedding.weight.shape[1], len(self.properties)
        self.predictor = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, count))
        init_transformer_(self.predictor)
        self.register_buffer("statistics", torch.tensor([0.0, 1.0])[:, None].repeat(1, count))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def fit_statistics(self, values: Tensor) -> None:
        """Takes mean and deviation of properties (N, P); nan where one is unknown."""
        for place, column in enumerate(values.double().T):
            known = column[column.isfinite()]
            if not len(known):
                raise UserError(f"no molecule of the training data has a {self.properties[place]}")
            deviation = float(known.std(correction=0)) or 1.0
            self.statistics[:, place] = torch.tensor([float(known.mean()), deviation])
        self.seen.fill_(len(values))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Every token sees all others inside the block."""
        mixers = [m for m in self.decoder.modules() if isinstance(m, SelfAttention)]
        for one in mixers:
            one.causal = False
        try:
            yield
        finally:
            for one in mixers:
                one.causal = True

    def encode(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns what each token is in its molecule, (B, T, dim)."""
        with self.reading():
            return self.features(tokens, lengths=lengths)

    def reconstruct(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits of each token itself, masks among them, (B, T, V)."""
        return self.head(self.encode(tokens, lengths=lengths))

    def standardized(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the expected properties in deviations from the mean, (B, P); read off the start token."""
        return self.predictor(self.encode(tokens, lengths=lengths)[:, 0])

    def predict(self, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the expected properties in their units, (B, P)."""
        mean, deviation = self.statistics
        return self.standardized(tokens, lengths=lengths) * deviation + mean

    @torch.no_grad()
    def propose(
        self,
        count: int,
        *,
        property: str | None = None,
        tries: int = 10,
        lowest: bool = False,
        sampling: Sampling | None = None,
        batch_size: int = 256,
        generator: torch.Generator | None = None,
    ) -> Proposals:
        """Writes molecules, predicts their properties and keeps the best different ones.

        Args:
            count: Molecules that are kept.
            property: What makes one good; the first property if None.
            tries: Molecules written for each that is kept.
            lowest: Whether low values are good.
            sampling: As of every ``LanguageModel``.
            batch_size: As of every ``LanguageModel``.
            generator: As of every ``LanguageModel``.

        Raises:
            UserError: If the model predicts no such property, or a number is below 1.

        Source:
            Izdebski et al. 2023, https://arxiv.org/abs/2310.02066 (probabilistic black-box optimization).
        """
        name = property if property is not None else self.properties[0]
        if name not in self.properties:
            raise UserError(f"the model predicts no {name}; it has {', '.join(self.properties)}")
        if count < 1 or tries < 1:
            raise UserError(f"count is {count} and tries {tries}; both must be at least 1")
        found = self.generate(
            [self.tokenizer.prompt("")] * (count * tries),
            sampling=sampling,
            batch_size=batch_size,
            generator=generator,
        )
        rows = found.tokens.tolist()
        first = list({tuple(row): place for place, row in reversed(list(enumerate(rows)))}.values())
        kept = torch.tensor(sorted(first), device=found.tokens.device)
        tokens, lengths = found.tokens[kept], found.lengths[kept]
        with evaluating(self):
            parts = zip(tokens.split(batch_size), lengths.split(batch_size), strict=True)
            predicted = torch.cat([self.predict(some, lengths=long) for some, long in parts])
        order = predicted[:, self.properties.index(name)].argsort(
            descending=not lowest, stable=True
        )
        best = order[:count]
        return Proposals(tokens[best], lengths[best], predicted[best])


def _lifts(mixer: TokenMixer) -> bool:
    plain = isinstance(mixer, SelfAttention) and mixer.causal
    return plain and mixer.window is None and mixer.chunks is None
