"""Decoding of many sequences with one cache whose rows are used again as soon as they are free."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from headway.core.cache import Cache
from headway.core.errors import UserError
from headway.core.generation.sampling import Sampling
from headway.core.module import evaluating

DROP_BELOW = 0.75


class CausalModel(Protocol):
    """A model of sequences that runs step by step."""

    def init_cache(self, batch: int, max_length: int) -> Cache:
        """Returns an empty cache."""
        ...

    def __call__(self, tokens: Tensor, *, cache: Cache | None = None) -> Tensor:
        """Returns the logits (B, T, V) of what follows each token (B, T)."""
        ...


class Generated(NamedTuple):
    """Sequences in the order in which they were asked for.

    Args:
        tokens: Start and end token included, (count, longest), filled up with ``padding``.
        lengths: Tokens of each sequence, (count,).
        log_likelihoods: Of the sampled tokens under the model, (count,); prompts do not count.
        finished: Whether a sequence ended by itself and not by ``max_length``, (count,).
    """

    tokens: Tensor
    lengths: Tensor
    log_likelihoods: Tensor
    finished: Tensor


@torch.no_grad()
def generate(
    model: CausalModel,
    prompts: Sequence[Sequence[int]],
    *,
    end: int,
    max_length: int,
    sampling: Sampling | None = None,
    batch_size: int = 256,
    padding: int = 0,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    device: torch.device | None = None,
    progress: Callable[[int], None] | None = None,
) -> Generated:
    """Continues each prompt until the end token or ``max_length``.

    Prompts of any lengths run side by side. A row that has ended is given the next prompt at once, so
    the batch stays full; when no prompt is left, free rows are dropped, many at a time. Every prompt that
    was begun is finished and returned in its place, so short sequences are not preferred.

    Args:
        model: The model; it is put into evaluation mode for as long as it generates.
        prompts: At least one token each, such as the start token.
        end: The token that ends a sequence.
        max_length: Most tokens of a sequence, prompt included.
        sampling: How the next token is chosen; from the whole softmax if None.
        batch_size: Rows decoded at a time.
        padding: Fills the result up to the longest sequence.
        generator: Of the random draws, on the model's device; or one for each prompt, and then what a
            sequence draws does not depend on the others.
        device: The model's device; the CPU if None.
        progress: Called with the number of sequences that ended in a step.

    Raises:
        UserError: If there is no prompt, or one is empty or too long.
    """
    longest = max((len(prompt) for prompt in prompts), default=0)
    if not prompts or min(len(prompt) for prompt in prompts) < 1:
        raise UserError("generate needs prompts of at least one token (the start token)")
    if longest >= max_length:
        raise UserError(f"a prompt has {longest} tokens; max_length {max_length} leaves no room")
    sampling = sampling if sampling is not None else Sampling()
    count = len(prompts)
    if isinstance(generator, Sequence) and len(generator) != count:
        raise UserError(
            f"there are {len(generator)} generators for {count} prompts; give one for each"
        )
    given = torch.full((count, longest), padding)
    for row, prompt in enumerate(prompts):
        given[row, : len(prompt)] = torch.as_tensor(prompt)
    given = given.to(device)
    given_lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)

    tokens = torch.full((count, max_length), padding, device=device)
    tokens[:, 0] = given[:, 0]
    lengths = torch.ones(count, dtype=torch.int64, device=device)
    likelihoods = torch.zeros(count, device=device)
    finished = torch.zeros(count, dtype=torch.bool, device=device)

    rows = min(batch_size, count)
    with evaluating(model) if isinstance(model, nn.Module) else nullcontext():
        cache = model.init_cache(rows, max_length)
        running = torch.arange(rows, device=device)  # which sequence each row of the cache holds
        busy = torch.ones(rows, dtype=torch.bool, device=device)
        begun = rows
        while bool(busy.any()):
            last = tokens[running, lengths[running] - 1]
            logits = model(last[:, None], cache=cache)[:, -1]
            drawn = sampling(
                logits,
                [generator[row] for row in running.tolist()]
                if isinstance(generator, Sequence)
                else generator,
            )
            # Inside a prompt the next token is known: the step only fills the cache.
            place = lengths[running].clamp_max(max_length - 1)
            forced = place < given_lengths[running]
            chosen = torch.where(forced, given[running, place.clamp_max(longest - 1)], drawn)
            gained = logits.float().log_softmax(dim=-1).gather(1, chosen[:, None])[:, 0]
            active = running[busy]
            likelihoods[active] += gained.masked_fill(forced, 0.0)[busy]
            tokens[active, place[busy]] = chosen[busy]
            lengths[active] = place[busy] + 1
            ended = (chosen == end) & ~forced
            finished[active] = ended[busy]
            free = (busy & (ended | (place + 1 == max_length))).nonzero()[:, 0]
            if not len(free):
                continue
            if progress is not None:
                progress(len(free))
            fresh = min(len(free), count - begun)
            running[free[:fresh]] = torch.arange(begun, begun + fresh, device=device)
            busy[free[fresh:]] = False
            # Rows that nobody takes over stay as long as the others, which all began together.
            if rows < count:
                cache.reset(free)
            begun += fresh
            # Dropping rows copies the cache, so a quarter of them is dropped at a time.
            if busy.sum() <= DROP_BELOW * len(busy):
                keep = busy.nonzero()[:, 0]
                running, busy = running[keep], busy[keep]
                cache.select(keep)
    return Generated(tokens[:, : int(lengths.max())], lengths, likelihoods, finished)
