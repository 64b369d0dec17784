"""A frozen decoder that rewrites texts, steered by a few vectors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.generation import Generated, Sampling
from headway.core.language import DecoderLanguageModel
from headway.core.module import Module
from headway.core.systems import system


class _WithNewRows(nn.Module):
    """A frozen embedding, and further rows that learn."""

    def __init__(self, known: nn.Embedding, new: int, start: int | None) -> None:
        super().__init__()
        self.known = known
        self.count = known.num_embeddings
        # As long as the others: they speak to the model in its own language.
        weight = known.weight.detach()
        rows = torch.randn(new, known.embedding_dim).to(weight) * weight.std()
        if start is not None:
            rows[-1] = weight[start]
        self.new = nn.Parameter(rows)

    def forward(self, tokens: Tensor) -> Tensor:
        known = self.known(tokens.clamp(max=self.count - 1))
        new = nn.functional.embedding((tokens - self.count).clamp(min=0), self.new)
        return torch.where((tokens >= self.count)[..., None], new, known)


@system(
    id=None,
    name="Pair-tuning",
    paper="https://arxiv.org/abs/2405.04912",
    claim="vectors tuned on pairs of which the second is better let a frozen model write better texts "
    "than it does without them",
    test="packages/molecules/tests/optimization/test_pairs.py",
)
class PairTuned(Module):
    """Writes a better text for a given one: vectors in front, the text, a vector between, the better text.

    Only these vectors learn, from pairs of which the second text is better; nothing says how much. The model
    reads ``[vectors] start text [between] better end``. The vector between begins as the start token does:
    behind it a new text is written from the first step.

    Args:
        model: Any decoder; its weights are frozen, and its embedding gets rows for the vectors.
        prompts: Vectors in front.

    Raises:
        UserError: If there are no vectors, or no room for two texts because positions are learned.

    Source:
        Ross et al. 2024, https://arxiv.org/abs/2405.04912 (GP-MoLFormer), section "Pair-tuning".
    """

    def __init__(self, model: DecoderLanguageModel, *, prompts: int = 20) -> None:
        super().__init__()
        if prompts < 1:
            raise UserError(f"prompts is {prompts}; it must be at least 1")
        self.longest = prompts + 2 * model.max_length
        if model.position is not None and model.position.length < self.longest:
            raise UserError(
                f"{prompts} vectors and two texts of {model.max_length} tokens are {self.longest} places, "
                f"the model has learned {model.position.length}; set_max_length takes shorter texts"
            )
        self.model = model.requires_grad_(requires_grad=False)
        known = model.embedding
        self.front = [known.num_embeddings + place for place in range(prompts)]
        self.between = known.num_embeddings + prompts
        model.embedding = _WithNewRows(known, prompts + 1, model.tokenizer.start)  # pyright: ignore

    @property
    def vectors(self) -> nn.Parameter:
        """What learns: the vectors in front, and the one between."""
        return self.model.embedding.new  # pyright: ignore

    def prompt(self, text: str) -> list[int]:
        """Returns the numbers of what the model is given for a text."""
        return [*self.front, *self.model.tokenizer.prompt(text), self.between]

    def loss(self, pairs: Sequence[tuple[str, str]]) -> Tensor:
        """Returns the mean loss of each token of the second texts, in nats.

        Args:
            pairs: A text and a better one each.
        """
        tokenizer = self.model.tokenizer
        begun = [self.prompt(text) for text, _ in pairs]
        better = [tokenizer.encode(text)[tokenizer.start is not None :] for _, text in pairs]
        rows = [[*one, *other] for one, other in zip(begun, better, strict=True)]
        longest = max(map(len, rows))
        tokens = torch.full((len(rows), longest), tokenizer.filling)
        counted = torch.zeros(len(rows), longest, dtype=torch.bool)
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = torch.tensor(row)
            counted[place, len(begun[place]) : len(row)] = True
        tokens, counted = tokens.to(self.model.device), counted[:, 1:].to(self.model.device)
        logits = self.model(tokens[:, :-1]).float()
        return nn.functional.cross_entropy(logits[counted], tokens[:, 1:][counted])

    @torch.no_grad()
    def rewrite(
        self,
        texts: Sequence[str],
        *,
        sampling: Sampling | None = None,
        batch_size: int = 256,
        generator: torch.Generator | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[list[str], Generated]:
        """Returns one new text for each, and how it was generated; arguments as of ``generate``."""
        tokenizer = self.model.tokenizer
        prompts = [self.prompt(text) for text in texts]
        found = self.model.continued(
            prompts,
            max_length=self.longest,
            sampling=sampling,
            batch_size=batch_size,
            generator=generator,
            progress=progress,
        )
        rows = zip(found.tokens.tolist(), prompts, found.lengths.tolist(), strict=True)
        return [tokenizer.decode(row[len(one) : end]) for row, one, end in rows], found
