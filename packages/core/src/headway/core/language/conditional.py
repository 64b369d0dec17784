"""A causal decoder that is told what its text shall be like."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories
from headway.core.cache import Cache, CacheGroup
from headway.core.errors import InputError, UserError
from headway.core.generation import Generated, Guided, Sampling
from headway.core.language.conditions import ABSENT, ConditionPrefix, Front
from headway.core.language.decoder import DecoderLanguageModel, DecoderOptions
from headway.core.module import evaluating
from headway.core.passed import Passed
from headway.core.positions import PositionTable

log = logging.getLogger(__name__)


class ConditionalParts(DecoderOptions, total=False):
    """What every conditional language model with parts of its own passes on; it adds the parts of others."""

    max_fragment: int
    block: BlockFactory
    tied: bool


class _BesidePosition(DecoderOptions, total=False):
    mixer: MixerFactories
    feedforward: FeedForwardFactory
    norm: Callable[[int], nn.Module]
    block: BlockFactory
    tied: bool


class ConditionalLanguageModel(DecoderLanguageModel):
    """Writes texts with wanted properties and a wanted piece; any of these may be left out, in each row anew.

    The conditions stand in front of the start token: one token for each number, one for each token of the
    piece (``ConditionPrefix``). Rows of a batch may be told different things; what a row is not told takes
    no room. It learns to go without by ``StochasticContext``.

    Args:
        properties: Names of the numbers that it can be told.
        max_fragment: Most tokens of a piece; 0 for models that are told none.
        position: As of every ``DecoderLanguageModel``; conditions have places of their own.
        **options: As of every ``DecoderLanguageModel``.

    Shape:
        As of every ``DecoderLanguageModel``; values: (B, P), nan where a row is not told a property.
        fragments: (B, F) int64, filled up with -1. Only the tokens of the text have logits.

    Source:
        Dobberstein et al. 2024, https://doi.org/10.1186/s13321-024-00863-8.
    """

    def __init__(
        self,
        *,
        properties: Sequence[str] = (),
        max_fragment: int = 16,
        position: Callable[[int, int], PositionTable] | None = None,
        **options: Passed[_BesidePosition],
    ) -> None:
        if max_fragment < 0:
            raise UserError(f"max_fragment is {max_fragment}; it must be 0 (no fragments) or more")
        self.room = len(properties) + max_fragment
        table = None if position is None else lambda dim, length: position(dim, length + self.room)
        super().__init__(position=table, **options)
        self.properties, self.max_fragment = tuple(properties), max_fragment
        self.prefix = ConditionPrefix(properties, self.embedding.weight.shape[1])

    def forward(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
        context: Tensor | None = None,
        context_lengths: Tensor | None = None,
        values: Tensor | None = None,
        fragments: Tensor | None = None,
        ranks: Tensor | None = None,
    ) -> Tensor:
        """Returns the logits of the token that follows each; with a cache, ``read`` took the conditions in.

        Args:
            tokens: As of every ``DecoderLanguageModel``, like all that is not named here.
            lengths: Real tokens of each row.
            cache: What the rows have seen before, conditions included.
            context: What the rows are about, for ``cross``.
            context_lengths: Real tokens of it.
            values: Wanted properties in their units.
            fragments: Tokens of the wanted pieces.
            ranks: The order of the properties and of the piece in each row, (B, P + 1); as named if None.
        """
        about: dict[str, Any] = {"context": context, "context_lengths": context_lengths}
        x = self.embedding(tokens)
        front = None if cache is not None else self._front(values, fragments, ranks)
        if front is None:
            return self.head(self.through(x, lengths=lengths, cache=cache, **about))
        length = x.shape[1]
        behind = None if lengths is None else lengths + front.counts
        found = self.through(front.before(x), lengths=behind, **about)
        return self.head(front.without(found, length))

    def read(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None,
        cache: Cache,
        values: Tensor | None = None,
        fragments: Tensor | None = None,
        ranks: Tensor | None = None,
        **conditions: Any,
    ) -> None:
        """Takes conditions and the beginning of texts into a cache, in one pass."""
        front = self._front(values, fragments, ranks)
        if front is None:
            return super().read(tokens, lengths=lengths, cache=cache, **conditions)
        x = front.before(self.embedding(tokens)) if tokens.shape[1] else front.tokens
        if x.shape[1]:
            behind = tokens.shape[1] if lengths is None else lengths
            self.through(x, lengths=front.counts + behind, cache=cache, **conditions)
        return None

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling | None = None,
        batch_size: int = 256,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        progress: Callable[[int], None] | None = None,
        guidance: float = 1.0,
        **conditions: Any,
    ) -> Generated:
        """Continues prompts under conditions; see ``headway.core.generation.generate``.

        Args:
            prompts: They begin with the start token.
            sampling: As of every ``LanguageModel``.
            batch_size: As of every ``LanguageModel``.
            generator: As of every ``LanguageModel``.
            progress: As of every ``LanguageModel``.
            guidance: How much the conditions count (``Guided``); 1 is the model as it is. Log-probabilities
                are those of what is drawn from.
            **conditions: ``values`` and ``fragments`` with one row for each prompt (``conditions``).
        """
        options: dict[str, Any] = {
            "sampling": sampling,
            "batch_size": batch_size,
            "generator": generator,
            "progress": progress,
        }
        if guidance == 1:
            return super().generate(prompts, **options, **conditions)
        with evaluating(self):
            guided = Guided(self, guidance)
            return self.continued(prompts, by=guided, conditions=conditions, **options)

    def conditions(
        self,
        values: Sequence[Mapping[str, float]],
        fragments: Sequence[str | None] | None = None,
        names: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Returns what ``generate`` and ``score`` are told, from names and texts; warns of what is far off.

        Args:
            values: Wanted properties of each row by name, any of them.
            fragments: The wanted piece of each row; None where there is none.
            names: Of the rows, for messages; ``condition`` for all if None.

        Raises:
            UserError: If a property is none of the model's, or a value is no finite number.
            InputError: If a piece has unknown tokens or too many.
        """
        rows = names if names is not None else ["condition"] * len(values)
        table = torch.full((len(values), len(self.properties)), torch.nan)
        for place, (wanted, where) in enumerate(zip(values, rows, strict=True)):
            for name, value in wanted.items():
                if name not in self.properties:
                    known = ", ".join(self.properties) or "none"
                    raise UserError(
                        f"{where}: the model knows no property {name!r}; it has {known}"
                    )
                if not torch.tensor(float(value)).isfinite():
                    raise UserError(f"{where}: {name} is {value}; it must be a finite number")
                table[place, self.properties.index(name)] = value
        for name, (low, high) in self.prefix.outside(table).items():
            log.warning(
                f"{name} is asked for outside {low:.4g} to {high:.4g}, the range of the training data; "
                "what comes may be far from it"
            )
        pieces = [
            self._piece(text, where)
            for text, where in zip(fragments or [None] * len(values), rows, strict=True)
        ]
        longest = max(map(len, pieces), default=0)
        padded = [[*piece, *[ABSENT] * (longest - len(piece))] for piece in pieces]
        return {
            "values": table.to(self.device),
            "fragments": torch.tensor(padded, dtype=torch.int64, device=self.device),
        }

    def init_cache(self, batch: int, max_length: int | None = None) -> CacheGroup:
        """Returns an empty cache for ``batch`` texts, with room for what stands in front of them."""
        return super().init_cache(batch, (max_length or self.max_length) + self.room)

    def set_max_length(self, max_length: int) -> None:
        """Allows texts of another length.

        Raises:
            UserError: If positions are learned and there are fewer.
        """
        if self.position is not None:
            self.position.cut(max_length + self.room)
        self.max_length = self.init_args["max_length"] = max_length

    def _piece(self, text: str | None, where: str) -> list[int]:
        """Returns the tokens of a piece."""
        if text is None or not text:
            return []
        head = 0 if self.tokenizer.start is None else 1
        found = self.tokenizer.prompt(text, where)[head:]
        if len(found) > self.max_fragment:
            raise InputError(
                where,
                f"the fragment {text!r} has {len(found)} tokens; the model takes {self.max_fragment}",
            )
        return found

    def _front(
        self, values: Tensor | None, fragments: Tensor | None, ranks: Tensor | None
    ) -> Front | None:
        if values is None and fragments is None:
            return None
        if values is not None and values.shape[1] != len(self.properties):
            raise UserError(
                f"values has {values.shape[1]} columns for the {len(self.properties)} properties of the model"
            )
        if fragments is not None and fragments.shape[1] > self.max_fragment:
            raise UserError(
                f"fragments have {fragments.shape[1]} tokens; the model takes {self.max_fragment}"
            )
        return self.prefix(values, fragments, self.embedding, ranks=ranks)
