"""DrugGen: a GPT-2 that writes molecules for a protein."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor, nn

from headway.core.blocks.block import BlockFactory, FeedForwardFactory, MixerFactories, MixerFactory
from headway.core.cache import Cache, CacheGroup
from headway.core.errors import UserError
from headway.core.generation import Generated, Sampling
from headway.core.language import DecoderLanguageModel, Tokenizer
from headway.core.language.presets import TanhMLP
from headway.core.mixers import CrossAttention
from headway.core.module import evaluating
from headway.core.passed import Passed
from headway.core.positions import PositionTable
from headway.core.stacks.decoder import CausalSelfAttention
from headway.core.systems import system
from headway.molecules.models.protein_forms import ProteinForm, ProteinPrefix
from headway.molecules.notation import PairTokenizer


class _BesideDrugGen(TypedDict, total=False):
    tokenizer: Tokenizer | None
    dim: int
    depth: int
    heads: int
    max_length: int
    dropout: float
    drop_path: float
    norm: Callable[[int], nn.Module]
    block: BlockFactory
    tied: bool


@system(
    id=410,
    name="DrugGen",
    paper="https://arxiv.org/abs/2411.14157",
    claim="told a protein it has never seen, it writes molecules with what such proteins bind, and PPO makes "
    "more of them valid and better; the same decoder that is told no protein does not",
    test="packages/molecules/tests/models/test_druggen.py",
)
class DrugGen(DecoderLanguageModel):
    """A GPT-2 over SMILES that is told a protein.

    How the protein reaches it is a part: in front of the molecule (``ProteinPrefix``, as published), or
    through attention to an encoder (``EncodedProtein``, ``FrozenProtein``). Tokens, lengths and scores are
    those of molecules alone. ``tasks.TargetedModeling`` trains it on pairs; ``headway optimize --method ppo``
    goes on with a score.

    Args:
        protein: How proteins reach the decoder; ``ProteinPrefix()`` if None.
        mixer: As of every ``DecoderLanguageModel``.
        cross: As of every ``DecoderLanguageModel``; attention to what ``protein`` encodes if None.
        feedforward: As of every ``DecoderLanguageModel``.
        position: As of every ``DecoderLanguageModel``; what stands in front has places of its own.
        **options: As of every ``DecoderLanguageModel``; ``max_length`` is that of a molecule.

    Shape:
        As of every ``DecoderLanguageModel``; proteins: (B, P) int64. protein_lengths: (B,). Only the tokens
        of the molecules have logits.

    Raises:
        UserError: If there is a ``cross``, and nothing that it could attend to.

    Source:
        Sheikholeslami et al. 2024, https://arxiv.org/abs/2411.14157; Li et al. 2023 (DrugGPT),
        https://doi.org/10.1101/2023.06.29.543848. Written from the papers: the released code is GPL-3.
    """

    usual_tokenizer: ClassVar[type[Tokenizer]] = PairTokenizer

    def __init__(
        self,
        *,
        protein: ProteinForm | None = None,
        mixer: MixerFactories = CausalSelfAttention,
        cross: MixerFactory | None = None,
        feedforward: FeedForwardFactory = TanhMLP,
        position: Callable[[int, int], PositionTable] | None = PositionTable,
        **options: Passed[_BesideDrugGen],
    ) -> None:
        form = ProteinPrefix() if protein is None else protein
        if cross is not None and form.width is None:
            raise UserError(
                f"cross attends to a protein that is encoded, and {type(form).__name__} encodes none; "
                "leave cross out"
            )
        if cross is None and form.width is not None:
            cross = partial(CrossAttention, context_dim=form.width)
        table = None if position is None else lambda dim, length: position(dim, length + form.room)
        parts: dict[str, Any] = {"mixer": mixer, "cross": cross, "feedforward": feedforward}
        super().__init__(position=table, **parts, **options)
        # What follows from a default is written down, too.
        self.protein = self.init_args["protein"] = form

    def features(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
        context: Tensor | None = None,
        context_lengths: Tensor | None = None,
        proteins: Tensor | None = None,
        protein_lengths: Tensor | None = None,
    ) -> Tensor:
        """Returns the vector of each token of the molecules that the head reads.

        Args:
            tokens: Of the molecules, right-padded, as all that is not named here.
            lengths: Real tokens of each row.
            cache: What the rows have seen before, proteins included.
            context: What the proteins were encoded as, in their place.
            context_lengths: Real tokens of it.
            proteins: Tokens of the proteins, right-padded (``told``).
            protein_lengths: Real tokens of each; all if None.
        """
        x = self.embedding(tokens)
        about: dict[str, Any] = {"context": context, "context_lengths": context_lengths}
        if proteins is not None:
            known = _lengths(proteins, protein_lengths)
            if context is None:
                about = self._encoded(proteins, known)
            front = None
            if cache is None:
                front = self.protein.front(proteins, known, self.embedding)
            if front is not None:
                behind = None if lengths is None else lengths + front.counts
                found = self.through(front.before(x), lengths=behind, **about)
                return front.without(found, tokens.shape[1])
        return self.through(x, lengths=lengths, cache=cache, **about)

    def forward(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None = None,
        cache: Cache | None = None,
        context: Tensor | None = None,
        context_lengths: Tensor | None = None,
        proteins: Tensor | None = None,
        protein_lengths: Tensor | None = None,
    ) -> Tensor:
        """Returns the logits of the token that follows each; arguments as of ``features``."""
        return self.head(
            self.features(
                tokens,
                lengths=lengths,
                cache=cache,
                context=context,
                context_lengths=context_lengths,
                proteins=proteins,
                protein_lengths=protein_lengths,
            )
        )

    def read(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None,
        cache: Cache,
        proteins: Tensor | None = None,
        protein_lengths: Tensor | None = None,
        **conditions: Any,
    ) -> None:
        """Takes proteins and the beginning of molecules into a cache, in one pass."""
        front = None
        if proteins is not None:
            known = _lengths(proteins, protein_lengths)
            front = self.protein.front(proteins, known, self.embedding)
        if front is None:
            return super().read(tokens, lengths=lengths, cache=cache, **conditions)
        x = front.before(self.embedding(tokens)) if tokens.shape[1] else front.tokens
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
        proteins: Tensor | None = None,
        protein_lengths: Tensor | None = None,
        **conditions: Any,
    ) -> Generated:
        """Writes molecules for proteins; see ``headway.core.generation.generate``.

        Args:
            prompts: Beginnings of molecules, at least the start token each.
            sampling: As of every ``LanguageModel``.
            batch_size: As of every ``LanguageModel``.
            generator: As of every ``LanguageModel``.
            progress: As of every ``LanguageModel``.
            proteins: One row for each prompt (``told``); none are told if None.
            protein_lengths: Real tokens of each.
            **conditions: As of every ``DecoderLanguageModel``.
        """
        told: dict[str, Any] = dict(conditions)
        if proteins is not None:
            known = _lengths(proteins, protein_lengths)
            told |= {"proteins": proteins, "protein_lengths": known}
            if self.protein.width is not None:
                told = {**conditions, **self._each_encoded(proteins, known, batch_size)}
        options: dict[str, Any] = {"sampling": sampling, "batch_size": batch_size}
        return super().generate(prompts, generator=generator, progress=progress, **options, **told)

    def told(
        self, sequences: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Returns what ``generate`` and ``score`` are told of proteins.

        Args:
            sequences: One for each row, a letter for each residue.
            names: Of the rows, for messages; ``protein`` for all if None.

        Raises:
            InputError: If one is no protein, or too long for the model.
        """
        rows = [
            self.protein.numbers(sequence, self.tokenizer, name)
            for sequence, name in zip(sequences, names or ["protein"] * len(sequences), strict=True)
        ]
        return {
            "proteins": self.protein.padded(rows, self.tokenizer).to(self.device),
            "protein_lengths": torch.tensor([len(row) for row in rows], device=self.device),
        }

    def init_cache(self, batch: int, max_length: int | None = None) -> CacheGroup:
        """Returns an empty cache for ``batch`` molecules, with room for what stands in front of them."""
        return super().init_cache(batch, (max_length or self.max_length) + self.protein.room)

    def set_max_length(self, max_length: int) -> None:
        """Allows molecules of another length.

        Raises:
            UserError: If positions are learned and there are fewer.
        """
        if self.position is not None:
            self.position.cut(max_length + self.protein.room)
        self.max_length = self.init_args["max_length"] = max_length

    def _encoded(self, proteins: Tensor, lengths: Tensor) -> dict[str, Any]:
        found = self.protein.context(proteins, lengths)
        if found is None:
            return {"context": None, "context_lengths": None}
        return {"context": found.tokens, "context_lengths": found.lengths}

    @torch.no_grad()
    def _each_encoded(self, proteins: Tensor, lengths: Tensor, batch_size: int) -> dict[str, Any]:
        """Encodes each different protein once."""
        different, home = torch.unique(proteins.to(self.device), dim=0, return_inverse=True)
        counts = lengths.new_zeros(len(different)).to(self.device)
        counts[home] = lengths.to(self.device)
        with evaluating(self):
            pairs = zip(different.split(batch_size), counts.split(batch_size), strict=True)
            parts = [self._encoded(*pair)["context"] for pair in pairs]
        context = torch.cat([part for part in parts if part is not None])
        return {"context": context[home], "context_lengths": counts[home]}


def _lengths(proteins: Tensor, lengths: Tensor | None) -> Tensor:
    if lengths is not None:
        return lengths
    return torch.full((len(proteins),), proteins.shape[1], device=proteins.device)
