"""Language models that write a text by lifting masks, in any order."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation import Generated, Sampling
from headway.core.generation.diffusion.masked import Unmasking, hide, masked_bound, masking_times
from headway.core.generation.draws import row_keys, uniform
from headway.core.language.encoders import Bert, BertOptions
from headway.core.language.model import LanguageModel
from headway.core.language.text_embedding import TextEmbedding
from headway.core.module import evaluating
from headway.core.passed import Passed
from headway.core.systems import system


class MaskedDiffusionOptions(BertOptions, total=False):
    """What every model of masked diffusion passes on."""

    embedding: Callable[[int, int, int], TextEmbedding]


_ROWS = 1024  # rows that ``score`` reads at a time


@system(
    id=None,
    name="MDLM",
    paper="https://arxiv.org/abs/2406.07524",
    claim="masked diffusion: what stands behind a gap counts when the gap is filled; sure tokens first, "
    "texts fit better than in a chance order",
    test="packages/core/tests/generation/test_masked_diffusion.py",
)
class MaskedDiffusion(Bert, LanguageModel):
    """A BERT that learned texts with any share of their tokens hidden, and so writes them from masks alone.

    Given tokens may stand anywhere: ``fill`` lifts the masks between them. How long texts are is what
    ``fit_lengths`` saw.

    Args:
        **options: As of every ``Bert``; the tokenizer has a mask.

    Attributes:
        length_counts: How many texts of each length there were in training, (max_length + 1,).

    Shape:
        As of every ``EncoderLanguageModel``.

    Raises:
        UserError: If the tokenizer has no mask.

    Source:
        Sahoo et al. 2024, https://arxiv.org/abs/2406.07524; without a time as input, as there.
    """

    length_counts: Tensor

    def __init__(self, **options: Passed[MaskedDiffusionOptions]) -> None:
        super().__init__(**options)
        if self.tokenizer.mask is None:
            raise UserError("the tokenizer has no mask; masked diffusion lifts masks")
        self.register_buffer("length_counts", torch.zeros(self.max_length + 1, dtype=torch.int64))

    def fit_lengths(self, lengths: Sequence[int]) -> None:
        """Takes how long texts are, start and end included; those beyond ``max_length`` do not count."""
        found = torch.tensor([one for one in lengths if one <= self.max_length], dtype=torch.int64)
        self.length_counts.copy_(torch.bincount(found, minlength=self.max_length + 1))

    def set_max_length(self, max_length: int) -> None:
        """Allows texts of another length; arguments as of every ``EncoderLanguageModel``."""
        super().set_max_length(max_length)
        counts = self.length_counts.new_zeros(max_length + 1)
        counts[: len(self.length_counts)] = self.length_counts[: max_length + 1]
        self.length_counts = counts

    def free(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Returns which tokens may be hidden, (B, T): all but start, end and padding."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        ends = torch.full_like(tokens[:, 0], tokens.shape[1]) if lengths is None else lengths
        first = 0 if self.tokenizer.start is None else 1
        last = 0 if self.tokenizer.end is None else 1
        return (places >= first) & (places < ends[:, None] - last)

    def bound(
        self,
        tokens: Tensor,
        *,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns one estimate of the bound on the negative log-likelihood of each text, in nats, (B,).

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row, (B,); all if None.
            generator: Of what is hidden, on the CPU; the default one if None.
        """
        free = self.free(tokens, lengths)
        time = masking_times(len(tokens), generator=generator, device=tokens.device)
        hidden = hide(time, free, generator)
        assert self.tokenizer.mask is not None
        logits = self(tokens.masked_fill(hidden, self.tokenizer.mask), lengths=lengths)
        return masked_bound(self._only_texts(logits), tokens, hidden, time)

    def score(self, tokens: Tensor, *, lengths: Tensor | None = None, **conditions: Any) -> Tensor:
        """Returns the log-probability of each token where masks are lifted from left to right.

        One pass for every place: as many as the longest text has tokens. Lengths count nothing.

        Args:
            tokens: Numbers of tokens, right-padded.
            lengths: Real tokens of each row, (B,); all if None.
            **conditions: None are known.

        Shape:
            tokens: (B, T) int64. Output: (B, T - 1).
        """
        assert self.tokenizer.mask is not None
        free = self.free(tokens, lengths)
        row, place = free.nonzero(as_tuple=True)
        places = torch.arange(tokens.shape[1], device=tokens.device)
        said: list[Tensor] = []
        for some, at in zip(row.split(_ROWS), place.split(_ROWS), strict=True):
            later = free[some] & (places >= at[:, None])
            seen = tokens[some].masked_fill(later, self.tokenizer.mask)
            logits = self(seen, lengths=None if lengths is None else lengths[some])
            own = self._only_texts(logits[torch.arange(len(some), device=seen.device), at])
            nats = own.float().log_softmax(dim=-1)
            said.append(nats.gather(1, tokens[some, at][:, None])[:, 0])
        found = torch.zeros(tokens.shape, device=tokens.device)
        if said:
            found = found.index_put((row, place), torch.cat(said))
        return found[:, 1:]

    @torch.no_grad()
    def fill(
        self,
        tokens: Tensor,
        hidden: Tensor,
        *,
        lengths: Tensor | None = None,
        sampling: Sampling | None = None,
        unmasking: Unmasking | None = None,
        batch_size: int = 256,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Generated:
        """Fills in what is hidden in given texts, wherever it stands.

        What a row draws depends on the seed and on its place among the rows, not on ``batch_size``.

        Args:
            tokens: Numbers of tokens, right-padded.
            hidden: Where something is to be filled in, (B, T).
            lengths: Real tokens of each row, (B,); all if None.
            sampling: How a token is chosen; from the whole softmax if None.
            unmasking: The order; by confidence if None.
            batch_size: Rows at a time.
            generator: One number is drawn of it, from which all others follow; or one for each row.
            progress: Called with the number of rows that were done.

        Raises:
            UserError: If ``hidden`` has another shape than ``tokens``.
        """
        if hidden.shape != tokens.shape:
            raise UserError(f"hidden {tuple(hidden.shape)} must be as tokens {tuple(tokens.shape)}")
        keys = row_keys(len(tokens), generator, self.device)
        return self._filled(
            tokens.to(self.device),
            hidden.to(self.device),
            lengths,
            keys,
            sampling,
            unmasking if unmasking is not None else Unmasking(),
            batch_size,
            progress,
        )

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        sampling: Sampling | None = None,
        unmasking: Unmasking | None = None,
        new: int | None = None,
        batch_size: int = 256,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        progress: Callable[[int], None] | None = None,
        **conditions: Any,
    ) -> Generated:
        """Writes texts that begin with prompts, each as long as one of the training, from masks.

        Args:
            prompts: Numbers of tokens each.
            sampling: As of ``fill``.
            unmasking: As of ``fill``.
            new: Tokens that are written behind each prompt; if None, what is left of a length drawn from
                those of training that are longer than the prompt.
            batch_size: As of ``fill``.
            generator: As of ``fill``.
            progress: As of ``fill``.
            **conditions: None are known.

        Raises:
            UserError: If a prompt leaves no room, or no length is known.
        """
        if conditions:
            raise UserError(f"{type(self).__name__} takes no {', '.join(conditions)}")
        if not prompts:
            raise UserError("generate needs at least one prompt")
        keys = row_keys(len(prompts), generator, self.device)
        tail = [] if self.tokenizer.end is None else [self.tokenizer.end]
        drawn = uniform(keys, torch.full_like(keys, -1)).tolist()
        rows: list[Tensor] = []
        hidden: list[Tensor] = []
        assert self.tokenizer.mask is not None
        for prompt, number in zip(prompts, drawn, strict=True):
            count = self._new_tokens(len(prompt) + len(tail), new, number)
            rows.append(torch.tensor([*prompt, *[self.tokenizer.mask] * count, *tail]))
            unknown = [False] * len(prompt) + [True] * count + [False] * len(tail)
            hidden.append(torch.tensor(unknown))
        pad = torch.nn.utils.rnn.pad_sequence
        tokens = pad(rows, batch_first=True, padding_value=self.tokenizer.filling)
        return self._filled(
            tokens.to(self.device),
            pad(hidden, batch_first=True).to(self.device),
            torch.tensor([len(row) for row in rows]),
            keys,
            sampling,
            unmasking if unmasking is not None else Unmasking(),
            batch_size,
            progress,
        )

    def _filled(
        self,
        tokens: Tensor,
        hidden: Tensor,
        lengths: Tensor | None,
        keys: Tensor,
        sampling: Sampling | None,
        unmasking: Unmasking,
        batch_size: int,
        progress: Callable[[int], None] | None,
    ) -> Generated:
        count, longest = tokens.shape
        if lengths is None:
            lengths = torch.full((count,), longest)
        lengths = lengths.to(tokens.device)
        forbidden = self._forbidden(tokens.device)
        assert self.tokenizer.mask is not None
        mask, done = self.tokenizer.mask, tokens.clone()
        gained = torch.zeros(tokens.shape, device=tokens.device)
        free = self.free(tokens, lengths)
        with evaluating(self):
            # Rows of about equal length share a pass.
            for some in lengths.argsort(stable=True).split(batch_size):
                most, own = int(lengths[some].max()), lengths[some]

                def predict(seen: Tensor, rows: Tensor, own: Tensor = own) -> Tensor:
                    return self(seen, lengths=own[rows])

                found = unmasking(
                    predict,
                    tokens[some, :most],
                    hidden[some, :most],
                    mask=mask,
                    keys=keys[some],
                    forbidden=forbidden,
                    sampling=sampling,
                    context=free[some, :most],
                )
                done[some, :most], gained[some, :most] = found
                if progress is not None:
                    progress(len(some))
        return Generated(done, lengths, gained, torch.ones_like(lengths, dtype=torch.bool))

    def _new_tokens(self, given: int, new: int | None, number: float) -> int:
        if new is not None:
            count = new
        else:
            counts = self.length_counts[given + 1 :].double().cumsum(0)
            if not len(counts) or not float(counts[-1]):
                raise UserError(
                    f"no text of training is longer than the {given} tokens that are given; say how many are "
                    "new"
                )
            count = 1 + int(torch.searchsorted(counts, number * counts[-1], right=True))
        if count < 1 or given + count > self.max_length:
            raise UserError(
                f"{given} tokens are given and {count} new; the model has room for {self.max_length}"
            )
        return count

    def _forbidden(self, device: torch.device) -> Tensor:
        found = torch.zeros(len(self.tokenizer), dtype=torch.bool, device=device)
        found[list(self.tokenizer.specials())] = True
        return found

    def _only_texts(self, logits: Tensor) -> Tensor:
        """What is behind a mask is never a special token."""
        return logits.masked_fill(self._forbidden(logits.device), -torch.inf)
