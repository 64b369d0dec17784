"""Decoding of many sequences with one cache whose rows are used again as soon as they are free."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.generation.draws import row_keys, uniform
from headway.core.generation.sampling import Sampling
from headway.core.generation.written import Written
from headway.core.module import evaluating

DROP_BELOW = 0.75
WAIT_FOR = 16


class CausalModel(Protocol):
    """A model of sequences that runs step by step.

    It may have ``read(tokens, *, lengths, cache, **conditions)`` besides, which takes the beginning of rows
    into a cache and says nothing of what follows (no logits of a long prompt are made), or puts something
    in front.
    """

    def init_cache(self, batch: int, max_length: int) -> Cache:
        """Returns an empty cache."""
        ...

    def __call__(self, *tokens: Any, **told: Any) -> Tensor:
        """Returns the logits (B, T, V) of what follows each token (B, T).

        It is called as ``model(tokens, cache=, **conditions)``, for prompts with ``lengths=`` besides.
        """
        ...


class Generated(NamedTuple):
    """Sequences in the order in which they were asked for.

    Args:
        tokens: Start and end token included, (count, longest), filled up with ``padding``.
        lengths: Tokens of each sequence, (count,).
        log_probabilities: Of each token that was chosen, under the model, (count, longest); 0 for prompts and
            behind the end.
        finished: Whether a sequence ended by itself and not by ``max_length``, (count,).
    """

    tokens: Tensor
    lengths: Tensor
    log_probabilities: Tensor
    finished: Tensor

    @property
    def log_likelihoods(self) -> Tensor:
        """Of all chosen tokens of each sequence, (count,); prompts do not count."""
        return self.log_probabilities.sum(dim=1)


class Prompts:
    """Checked prompts as one tensor.

    Args:
        prompts: At least one token each, such as the start token.
        max_length: Most tokens of a sequence, prompt included.
        padding: Fills short ones up.
        device: Where the tensors shall be.
        conditions: Tensors with one row for each prompt.

    Raises:
        UserError: If there is no prompt, one is empty or too long, or a condition has another number of rows.
    """

    def __init__(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_length: int,
        padding: int,
        device: torch.device | None,
        conditions: Mapping[str, Tensor | None] | None,
    ) -> None:
        longest = max((len(prompt) for prompt in prompts), default=0)
        if not prompts or min(len(prompt) for prompt in prompts) < 1:
            raise UserError("generate needs prompts of at least one token (the start token)")
        if longest >= max_length:
            raise UserError(
                f"a prompt has {longest} tokens; max_length {max_length} leaves no room"
            )
        given = torch.full((len(prompts), longest), padding)
        for row, prompt in enumerate(prompts):
            given[row, : len(prompt)] = torch.as_tensor(prompt)
        self.tokens = given.to(device)
        self.lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        self.shortest, self.longest = min(map(len, prompts)), longest
        self.conditions = {
            name: value.to(device)
            for name, value in (conditions or {}).items()
            if value is not None
        }
        for name, value in self.conditions.items():
            if len(value) != len(prompts):
                raise UserError(
                    f"{name} has {len(value)} rows for {len(prompts)} prompts; give one for each"
                )

    def told(self, rows: Tensor) -> dict[str, Tensor]:
        """Returns the conditions of some prompts."""
        return {name: value[rows] for name, value in self.conditions.items()}

    def are_read(self, model: CausalModel) -> bool:
        """Whether there is something in front of the last token of some prompt."""
        return self.longest > 1 or bool(self.conditions and hasattr(model, "read"))

    def read(self, model: CausalModel, rows: Tensor, cache: Cache) -> None:
        """Takes prompts into an empty cache, in one pass, but for the last token of each."""
        longest = int(self.lengths[rows].max()) - 1
        read = getattr(model, "read", None)
        if longest == 0 and (read is None or not self.conditions):
            return  # the last token goes through the same step as those of the other rows
        even = self.shortest == self.longest
        (model if read is None else read)(
            self.tokens[rows, :longest],
            lengths=None if even else self.lengths[rows] - 1,
            cache=cache,
            **self.told(rows),
        )


@torch.no_grad()
def generate(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    *,
    end: int | None,
    max_length: int,
    sampling: Sampling | None = None,
    batch_size: int = 256,
    padding: int = 0,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
    conditions: Mapping[str, Tensor | None] | None = None,
) -> Generated:
    """Continues each prompt until the end token or ``max_length``.

    A prompt costs one pass. A row that has ended is soon given the next prompt, so the batch stays full;
    when no prompt is left, free rows are dropped, many at a time. Every prompt that was begun is finished
    and returned in its place, so short sequences are not preferred. Each sequence has random numbers of its
    own: what it draws depends on the seed and on its place among the prompts, not on ``batch_size`` and not
    on the others.

    Args:
        model: The model; it is put into evaluation mode for as long as it generates.
        prompts: At least one token each, such as the start token.
        end: The token that ends a sequence; only ``max_length`` does if None.
        max_length: Most tokens of a sequence, prompt included.
        sampling: How the next token is chosen; from the whole softmax if None.
        batch_size: Rows decoded at a time.
        padding: Fills the result up to the longest sequence.
        generator: One number is drawn of it, from which all others follow; or one for each prompt.
        device: The model's device; the CPU if None.
        progress: Called with the number of sequences that ended in a step.
        conditions: Keyword arguments of the model with one row for each prompt: a context for
            cross-attention and its lengths, embeddings to put in front. They go along with the rows.

    Raises:
        UserError: If there is no prompt, one is empty or too long, or a condition has another number of rows.
    """
    given = Prompts(
        prompts, max_length=max_length, padding=padding, device=device, conditions=conditions
    )
    sampling = sampling if sampling is not None else Sampling()
    count, longest = given.tokens.shape
    if isinstance(generator, Sequence) and len(generator) != count:
        raise UserError(
            f"there are {len(generator)} generators for {count} prompts; give one for each"
        )
    keys = row_keys(count, generator, device)
    tokens = torch.full((count, max_length), padding, device=device)
    tokens[:, :longest] = given.tokens
    lengths = given.lengths.clone()
    gained = torch.zeros((count, max_length), device=device)
    finished = torch.zeros(count, dtype=torch.bool, device=device)

    rows = min(batch_size, count)
    # A pass for a single prompt costs as much as one for a few, so some rows wait for each other.
    enough = max(1, rows // WAIT_FOR) if given.are_read(model) else 1
    # Rows that all began together end before their cache does; others have to be begun anew.
    together = rows == count and given.shortest == longest
    with evaluating(model) if isinstance(model, nn.Module) else nullcontext():
        cache, states = model.init_cache(rows, max_length), sampling.init_states(rows, device)
        remembered = [cache, *(state for state in states if state is not None)]
        running = torch.arange(rows, device=device)  # which sequence each row of the cache holds
        busy = torch.ones(rows, dtype=torch.bool, device=device)
        given.read(model, running, cache)
        told = given.told(running)
        begun = rows
        while bool(busy.any()):
            place = lengths[running]
            logits = model(tokens[running, place - 1][:, None], cache=cache, **told)[:, -1]
            logits = logits.float().log_softmax(dim=-1)
            written = Written(tokens, lengths, running)
            chosen = sampling(logits, uniform(keys[running], place), written, states)
            active, own, at = running[busy], chosen[busy], place[busy]
            gained[active, at] = logits.gather(1, chosen[:, None])[:, 0][busy]
            tokens[active, at] = own
            lengths[active] = at + 1
            ended = torch.zeros_like(busy) if end is None else chosen == end
            finished[active] = ended[busy]
            free = (busy & (ended | (place + 1 >= max_length))).nonzero()[:, 0]
            if not len(free):
                continue
            if progress is not None:
                progress(len(free))
            busy[free] = False
            waiting = (~busy).nonzero()[:, 0]
            ready = len(waiting) >= enough or len(waiting) == len(busy)
            taken = waiting[: count - begun] if ready else waiting[:0]
            if not together:
                for one in remembered:
                    one.reset(torch.cat([free, taken]))
            if len(taken):
                fresh = torch.arange(begun, begun + len(taken), device=device)
                running[taken], busy[taken] = fresh, True
                begun += len(taken)
                for name, value in given.told(fresh).items():
                    told[name][taken] = value
                if given.are_read(model):
                    part = model.init_cache(len(taken), given.longest)
                    given.read(model, fresh, part)
                    cache.put(taken, part)
            # Dropping rows copies the cache, so a quarter of them is dropped at a time.
            if begun == count and busy.sum() <= DROP_BELOW * len(busy):
                keep = busy.nonzero()[:, 0]
                running, busy = running[keep], busy[keep]
                told = {name: value[keep] for name, value in told.items()}
                for one in remembered:
                    one.select(keep)
    longest = int(lengths.max())
    return Generated(tokens[:, :longest], lengths, gained[:, :longest], finished)
