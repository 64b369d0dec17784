"""The Regression Transformer: reads a property off a molecule, and writes molecules that have one."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks.block import FeedForwardFactory, MixerFactories
from headway.core.blocks.residual import NormFactory
from headway.core.dropout import Dropout
from headway.core.embeddings import NumericalEncoding
from headway.core.errors import UserError
from headway.core.feedforward import SwiGLU
from headway.core.generation.draws import row_keys, uniform
from headway.core.init import init_transformer_, truncated_normal_
from headway.core.language import NumberFormat, number_text
from headway.core.language.numerals import worth
from headway.core.language.vocabulary import renumber
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module, evaluating
from headway.core.norms import RMSNorm
from headway.core.positions import Rotary
from headway.core.stacks import Encoder
from headway.core.systems import system
from headway.molecules.notation import PropertyTokenizer

RotaryAttention = partial(SelfAttention, position=Rotary, qkv_bias=False, out_bias=False)


@system(
    id=475,
    name="Regression Transformer",
    paper="https://doi.org/10.1038/s42256-023-00639-z",
    claim="one model predicts a property as digits and writes molecules towards one; alternating training is "
    "what makes it write",
    test="packages/molecules/tests/models/test_regression_transformer.py",
)
class RegressionTransformer(Module):
    """Fills in what is hidden of ``<QED>0.394|CBr``: the digits of the property, or atoms of the molecule.

    The published model is an XLNet, which learns to say tokens in any order by a second stream of
    attention. Here the same is learned by an encoder that sees a mask where a token is still unknown: any
    number of them may be, and they are said one after the other. On chains of ten atoms whose share of carbon
    was told, encodings did not help with a digit that training had never shown (three seeds: off by 3.6, 3.0
    and 1.3 atoms with them, by 2.3, 2.6 and 1.2 without).

    Args:
        tokenizer: Knows the properties and how their numbers are written; QED with three decimals if None.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        encodings: Channels of the numerical encodings; 0 for digits that are tokens like any other.
        mixer: Builds the mixer, ``(dim, heads)``.
        feedforward: Builds the feed-forward, ``(dim)``.
        norm: Builds the norms, ``(dim)``.
        dropout: Probability of dropping a channel of an embedded token in training.

    Shape:
        front: (B, K) int64, the tokens of ``fronts``. tokens: (B, T) int64. Output: logits (B, K + T, V).

    Source:
        Born and Manica 2023, https://doi.org/10.1038/s42256-023-00639-z.
    """

    def __init__(
        self,
        *,
        tokenizer: PropertyTokenizer | None = None,
        dim: int = 128,
        depth: int = 4,
        heads: int = 4,
        encodings: int = 16,
        mixer: MixerFactories = RotaryAttention,
        feedforward: FeedForwardFactory = SwiGLU,
        norm: NormFactory = RMSNorm,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        made = (
            tokenizer if tokenizer is not None else PropertyTokenizer(properties={"QED": "0.000"})
        )
        if made.mask is None:
            raise UserError("the tokenizer has no mask; a Regression Transformer needs one")
        self.tokenizer: PropertyTokenizer = made
        self.init_args["tokenizer"] = made
        self.encodings = encodings
        self.embedding = nn.Embedding(len(made), dim)
        self.numerical = self._numerical(dim)
        self.dropout = Dropout(dropout)
        self.encoder = Encoder(dim, depth, heads, mixer=mixer, feedforward=feedforward, norm=norm)
        init_transformer_(self.encoder)
        truncated_normal_(self.embedding.weight)
        self.head = nn.Linear(dim, len(made), bias=False)
        self.head.weight = self.embedding.weight

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties, in their order."""
        return tuple(self.tokenizer.formats)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.embedding.weight.device

    def forward(self, front: Tensor, tokens: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Returns the logits of every token, those of masks among them.

        Args:
            front: Properties as tokens.
            tokens: Molecules, right-padded.
            lengths: Real tokens of each molecule, (B,); all if None.
        """
        whole = torch.cat([front, tokens], dim=1)
        x = self.embedding(whole)
        if self.numerical is not None:
            x = x + self.numerical(whole).to(x.dtype)
        layout = None if lengths is None else Layout(lengths=front.shape[1] + lengths)
        x, _ = self.encoder(self.dropout(x), layout)
        return self.head(x)

    def fronts(self, values: Tensor) -> Tensor:
        """Returns properties (B, P) as tokens (B, K); masks where one is nan.

        Raises:
            InputError: If a template has no room for a number.
        """
        rows = [
            self.tokenizer.front(row, f"row {place + 1}")
            for place, row in enumerate(values.tolist())
        ]
        return torch.tensor(rows, dtype=torch.int64, device=self.device).reshape(len(rows), -1)

    def digits(self) -> dict[str, tuple[NumberFormat, slice]]:
        """Returns how each property is written, and where in the front its digits stand."""
        found, at = {}, 0
        for name, form in self.tokenizer.formats.items():
            found[name] = (form, slice(at + 1, at + 1 + len(form)))
            at += 1 + len(form)
        return found

    @torch.no_grad()
    def predict(
        self, tokens: Tensor, *, lengths: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Returns the properties of molecules, (B, P): the likeliest digits, one after the other.

        Args:
            tokens: Molecules, right-padded.
            lengths: Real tokens of each, (B,).
            known: Properties that are given, (B, P); nan where one is to be said. All are if None.
        """
        count = len(self.properties)
        found = torch.full((len(tokens), count), torch.nan) if known is None else known.clone()
        with evaluating(self):
            for place, (form, where) in enumerate(self.digits().values()):
                front = self.fronts(found)
                asked = found[:, place].isnan()
                for at, allowed in zip(range(where.start, where.stop), form.allowed(), strict=True):
                    logits = self(front, tokens, lengths=lengths)[:, at]
                    may = torch.tensor([self.tokenizer.numbers[x] for x in allowed]).to(front)
                    front[asked.to(front.device), at] = may[logits[:, may].argmax(dim=1)][asked]
                written = front[:, where].tolist()
                texts = [
                    number_text([self.tokenizer.vocabulary[x] for x in row]) for row in written
                ]
                found[asked, place] = torch.tensor([float(text) for text in texts])[asked]
        return found

    @torch.no_grad()
    def rewrite(
        self,
        tokens: Tensor,
        wanted: Tensor,
        *,
        lengths: Tensor | None = None,
        share: float = 0.4,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns molecules of which a part is written anew, towards properties, (B, T).

        A share of the tokens between start and end is hidden; they are drawn one after the other, in an
        order drawn for each molecule. What a row draws depends on the generator and its place alone.

        Args:
            tokens: Molecules to begin with, right-padded.
            wanted: Properties, (B, P); nan where one is free.
            lengths: Real tokens of each, (B,).
            share: How many tokens of each are hidden, above 0 and at most 1.
            temperature: 0 takes the likeliest token.
            generator: What is drawn from.

        Raises:
            UserError: If ``share`` is out of range.
        """
        if not 0 < share <= 1:
            raise UserError(f"share is {share}; it must be above 0 and at most 1")
        tokens = tokens.clone()
        rows, length = tokens.shape
        full = torch.full((rows,), length, device=tokens.device) if lengths is None else lengths
        keys = row_keys(rows, generator, tokens.device)[:, None]
        places = torch.arange(length, device=tokens.device)
        inner = (places > 0) & (places < full[:, None] - 1)
        order = uniform(keys, places).masked_fill(~inner, 2.0).argsort(dim=1)
        hidden = ((full - 2) * share).ceil().long().clamp_min(0)
        each = torch.arange(rows, device=tokens.device)
        for step in range(int(hidden.max()) if rows else 0):
            some = hidden > step
            tokens[each[some], order[some, step]] = self._mask
        front = self.fronts(wanted)
        may = self._may_be_written().to(tokens.device)
        with evaluating(self):
            for step in range(int(hidden.max()) if rows else 0):
                some, at = hidden > step, order[:, step]
                logits = self(front, tokens, lengths=lengths)[each, front.shape[1] + at].float()
                logits = logits.masked_fill(~may, -torch.inf)
                if temperature:
                    shares = (logits / temperature).softmax(dim=-1).double().cumsum(dim=-1)
                    number = uniform(keys, (length + 1 + at)[:, None]) * shares[:, -1:]
                    drawn = torch.searchsorted(shares, number, right=True)[:, 0]
                else:
                    drawn = logits.argmax(dim=-1)
                tokens[each[some], at[some]] = drawn[some]
        return tokens

    def set_vocabulary(self, vocabulary: Sequence[str]) -> None:
        """Takes another vocabulary: tokens known before keep what was learned about them."""
        old = self.tokenizer
        new = old.with_vocabulary(vocabulary)
        self.tokenizer = self.init_args["tokenizer"] = new
        renumber(self.embedding, old, new)
        self.head.weight = self.embedding.weight
        self.head.out_features = len(new)
        made = self._numerical(self.embedding.weight.shape[1])
        self.numerical = None if made is None else made.to(self.device)

    @property
    def _mask(self) -> int:
        assert self.tokenizer.mask is not None
        return self.tokenizer.mask

    def _may_be_written(self) -> Tensor:
        """Returns which tokens stand in molecules, (V,)."""
        kept = self.tokenizer.molecular()
        return torch.tensor([place in kept for place in range(len(self.tokenizer))])

    def _numerical(self, dim: int) -> NumericalEncoding | None:
        if not self.encodings:
            return None
        return NumericalEncoding(worth(self.tokenizer.vocabulary), dim, channels=self.encodings)
