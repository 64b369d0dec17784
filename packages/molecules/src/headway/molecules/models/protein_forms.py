"""How a protein reaches a decoder of molecules: in front of them, or through attention to what encodes it."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import InputError, UserError
from headway.core.language import TextModel, Tokenizer
from headway.core.language.conditions import Front
from headway.core.module import Module
from headway.molecules.proteins.sequences import checked_sequence


class Context(NamedTuple):
    """What a decoder attends to.

    Args:
        tokens: (B, M, width).
        lengths: How many are real, (B,).
    """

    tokens: Tensor
    lengths: Tensor | None


class ProteinForm(Module):
    """How a protein reaches the decoder; a subclass says it in one of two ways, or in none.

    Attributes:
        room: Most tokens in front of a molecule.
        width: Channels of what is attended to; None if nothing is.
    """

    room: int = 0
    width: int | None = None

    def numbers(self, sequence: str, tokenizer: Tokenizer, name: str = "protein") -> list[int]:
        """Returns the tokens of a protein; none if the form reads none.

        Args:
            sequence: One letter for each residue.
            tokenizer: That of the molecules.
            name: The file and row, for the message.

        Raises:
            InputError: If it is no protein, or too long.
        """
        checked_sequence(sequence, name)
        return []

    def padded(self, rows: Sequence[Sequence[int]], tokenizer: Tokenizer) -> Tensor:
        """Returns the tokens of proteins, right-padded, (B, P)."""
        longest = max(map(len, rows), default=0)
        filling = self.filling(tokenizer)
        full = [[*row, *[filling] * (longest - len(row))] for row in rows]
        return torch.tensor(full, dtype=torch.int64).reshape(len(rows), longest)

    def filling(self, tokenizer: Tokenizer) -> int:
        """Returns the number that fills rows of proteins up."""
        return tokenizer.filling

    def front(self, proteins: Tensor, lengths: Tensor, embedding: nn.Module) -> Front | None:
        """Returns what stands in front of the molecules; None if nothing does."""
        return None

    def context(self, proteins: Tensor, lengths: Tensor) -> Context | None:
        """Returns what is attended to; None if nothing is."""
        return None


class NoProtein(ProteinForm):
    """The protein is not read: what a decoder can do without."""

    def __init__(self) -> None:
        super().__init__()


class ProteinPrefix(ProteinForm):
    """The protein stands in front of the molecule, in one sequence of one vocabulary (the published form).

    A text is ``opening``, the sequence, ``closing``, the SMILES and the end. The last token of ``closing`` is
    the start of the molecule.

    Args:
        opening: In front of the protein; ``<|startoftext|><P>`` in published models.
        closing: Between protein and molecule.
        max_protein: Most tokens of a protein, opening included.

    Raises:
        UserError: If ``max_protein`` is below 1.

    Source:
        Sheikholeslami et al. 2024, https://arxiv.org/abs/2411.14157; Li et al. 2023 (DrugGPT),
        https://doi.org/10.1101/2023.06.29.543848.
    """

    def __init__(
        self, *, opening: str = "<P>", closing: str = "<L>", max_protein: int = 512
    ) -> None:
        super().__init__()
        if max_protein < 1:
            raise UserError(f"max_protein is {max_protein}; it must be at least 1")
        self.opening, self.closing = opening, closing
        self.room = self.max_protein = max_protein

    def numbers(self, sequence: str, tokenizer: Tokenizer, name: str = "protein") -> list[int]:
        """Returns the tokens in front of the start of a molecule.

        Raises:
            InputError: If it is no protein or too long, or the tokens cannot be told apart from the molecule.
        """
        text = self.opening + checked_sequence(sequence, name) + self.closing
        pieces = tokenizer.split(text, name)
        if lacking := tokenizer.lacking(pieces):
            raise InputError(
                name, f"the protein has tokens that the model does not know: {' '.join(lacking)}"
            )
        found = [tokenizer.numbers[piece] for piece in pieces]
        if found[-1] != tokenizer.start:
            raise InputError(
                name,
                f"the text ends with the token {pieces[-1]!r}, which is not the start of molecules; "
                f"the tokenizer must cut behind {self.closing!r}",
            )
        return _short(found[:-1], self.max_protein, name)

    def front(self, proteins: Tensor, lengths: Tensor, embedding: nn.Module) -> Front | None:
        """Returns the embedded proteins.

        Raises:
            UserError: If one is longer than ``max_protein``.
        """
        count = proteins.shape[1]
        if isinstance(count, int) and count > self.max_protein:
            raise UserError(f"a protein has {count} tokens; the model takes {self.max_protein}")
        return Front(embedding(proteins), lengths)


class EncodedProtein(ProteinForm):
    """Molecules attend to what an encoder makes of the protein, such as an ESM-2; the encoder learns.

    Args:
        encoder: Reads proteins; its tokenizer cuts them.

    Source:
        The weights of Lin et al. 2023 (ESM-2), https://doi.org/10.1126/science.ade2574, may be read. That
        DrugGen reads them is ours.
    """

    # So that a subclass without gradients computes none.
    learns: ClassVar[bool] = True

    def __init__(self, *, encoder: TextModel) -> None:
        super().__init__()
        self.encoder, self.width = encoder, encoder.width

    def numbers(self, sequence: str, tokenizer: Tokenizer, name: str = "protein") -> list[int]:
        """Returns the tokens of a protein, as the encoder has them.

        Raises:
            InputError: If it is no protein, too long, or has a letter that the encoder does not know.
        """
        found = self.encoder.tokenizer.encode(checked_sequence(sequence, name), name)
        return _short(found, self.encoder.max_length, name)

    def filling(self, tokenizer: Tokenizer) -> int:
        """Returns the number that fills rows of proteins up."""
        return self.encoder.tokenizer.filling

    def context(self, proteins: Tensor, lengths: Tensor) -> Context | None:
        """Returns what the encoder makes of the proteins."""
        with torch.set_grad_enabled(self.learns and torch.is_grad_enabled()):
            return Context(self.encoder.features(proteins, lengths=lengths), lengths)


class FrozenProtein(EncodedProtein):
    """Molecules attend to what an encoder makes of the protein; the encoder stays as it is, without dropout.

    Args:
        encoder: As of every ``EncodedProtein``.
    """

    learns: ClassVar[bool] = False

    def __init__(self, *, encoder: TextModel) -> None:
        super().__init__(encoder=encoder)
        encoder.requires_grad_(False)

    def train(self, mode: bool = True) -> "FrozenProtein":
        """Leaves the encoder in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        return self


def _short(tokens: list[int], most: int, name: str) -> list[int]:
    if len(tokens) > most:
        raise InputError(
            name,
            f"the protein has {len(tokens)} tokens; the model takes {most}: give a part of it, a domain",
        )
    return tokens
