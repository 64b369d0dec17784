"""An encoder that hears while somebody speaks: tokens in chunks, as in a masked pass over all of them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from headway.core.cache import CacheError
from headway.core.errors import UserError
from headway.core.mixers import SelfAttention, TokenMixer
from headway.core.stacks.stack import Stack
from headway.core.systems import system
from headway.speech.layers.overlapping import Overlapping
from headway.speech.layers.stem import SpeechStem

Context = tuple[int, int]
"""Tokens of a chunk, and how many chunks of the past they see."""

# Tokens that attention without a limit to the past remembers: five minutes of 40 ms.
MOST = 7500


def tokens_at_once(stack: nn.Module) -> int:
    """Returns how many tokens a stack is given together.

    Args:
        stack: Blocks with token mixers.

    Raises:
        UserError: If a mixer needs all tokens, or chunks do not fit into each other.
    """
    found = 1
    for name, mixer in stack.named_modules():
        if not isinstance(mixer, TokenMixer):
            continue
        size = mixer.at_once
        if size is None:
            ways = "chunks=(C, L), or contexts of its encoder" if _attends(mixer) else "causal=True"
            raise UserError(
                f"{name} ({type(mixer).__name__}) looks at what comes later, so nothing can be said before "
                f"the end; build it with {ways}, and train it so"
            )
        if max(size, found) % min(size, found):
            raise UserError(
                f"{name} takes chunks of {size} tokens and others {found}; use one size of chunks"
            )
        found = max(size, found)
    return found


def check_contexts(contexts: Sequence[Sequence[int]]) -> tuple[Context, ...]:
    """Returns the contexts as pairs.

    Raises:
        UserError: If one is no pair of a size from 1 and a number from 0.
    """
    for one in contexts:
        if len(one) != 2 or one[0] < 1 or one[1] < 0:
            raise UserError(
                f"a context is (tokens of a chunk, chunks of the past), from (1, 0) on; got {tuple(one)}"
            )
    return tuple((size, left) for size, left in contexts)


def set_context(stack: nn.Module, context: Context) -> None:
    """Lets all self-attention of a stack see chunks of so many tokens, and so many chunks before.

    Raises:
        UserError: If there is no attention that could, or it is causal.
    """
    for mixer in _attention(stack):
        if mixer.chunks != context:
            mixer.set_chunks(context)


@contextmanager
def context_of(stack: nn.Module, context: Context) -> Iterator[None]:
    """Lets a stack see chunks for a while."""
    before = [(mixer, mixer.chunks) for mixer in _attention(stack)]
    set_context(stack, context)
    try:
        yield
    finally:
        for mixer, chunks in before:
            mixer.chunks = chunks


@system(
    id=None,
    name="Cache-aware streaming FastConformer",
    paper="https://arxiv.org/abs/2312.17279",
    claim="chunk by chunk, with a cache, tokens are those of the masked pass; one model, many latencies",
    test="packages/speech/tests/test_streaming.py",
)
class ChunkStream:
    """Computes the tokens of a stem and a stack while the input comes: those of the masked pass over all.

    Args:
        stem: Makes tokens.
        stack: Blocks that can run step by step.
        rows: Items that come side by side.
        context: What attention sees, where that is not for the stack to say.

    Attributes:
        chunk: Tokens that leave together.
        given: Tokens that have left.
        needed: Steps of the input that have to be there for the first chunk.

    Raises:
        UserError: If a part looks at the whole item.
    """

    def __init__(
        self,
        stem: SpeechStem,
        stack: Stack,
        *,
        rows: int = 1,
        context: Context | None = None,
    ) -> None:
        if stack.training:
            raise UserError("a stream is of a trained model; call eval() first")
        reach = stem.reach
        if reach is None:
            raise UserError(
                f"{type(stem).__name__} looks at the whole recording; for speech that still comes take a "
                "stem without a norm over time, such as StridingSubsampling(causal=True), and train with it"
            )
        self.stack, self.context = stack, context
        with self._hearing():
            self.chunk = tokens_at_once(stack)
            self.cache = stack.init_cache(rows, MOST)
        self.needed = (self.chunk - 1) * stem.stride + reach[1] + 1
        self.stem = Overlapping(
            lambda inputs: stem(inputs, inputs.new_full((len(inputs),), inputs.shape[1]).long())[0],
            stride=stem.stride,
            reach=reach,
            count=lambda steps: int(stem.output_lengths(torch.tensor(steps))),
        )
        self.waiting: Tensor | None = None
        self.given = 0

    @torch.no_grad()
    def push(self, inputs: Tensor) -> Tensor | None:
        """Returns the tokens of the chunks that are complete, (B, N, dim); None if there is none.

        Args:
            inputs: What comes next of every row, (B, T, bands) or (B, T).
        """
        return self._chunks(self.stem.push(inputs), last=False)

    @torch.no_grad()
    def finish(self) -> Tensor | None:
        """Returns the tokens that still waited, now that nothing more comes; None if there is none."""
        return self._chunks(self.stem.finish(), last=True)

    def _chunks(self, tokens: Tensor | None, *, last: bool) -> Tensor | None:
        parts = [part for part in (self.waiting, tokens) if part is not None]
        if not parts:
            return None
        x = torch.cat(parts, dim=1)
        whole = x.shape[1] if last else x.shape[1] // self.chunk * self.chunk
        self.waiting = x[:, whole:] if whole < x.shape[1] else None
        if not whole:
            return None
        self.given += whole
        try:
            with self._hearing():
                out = [
                    self.stack(part, cache=self.cache)[0]
                    for part in x[:, :whole].split(self.chunk, dim=1)
                ]
        except CacheError:
            raise UserError(
                f"this recording has over {MOST:,} tokens, which is what attention without a limit to the "
                "past remembers; build it with chunks=(C, L), contexts or a window"
            ) from None
        return torch.cat(out, dim=1)

    def _hearing(self) -> AbstractContextManager[None]:
        return nullcontext() if self.context is None else context_of(self.stack, self.context)


def _attends(mixer: TokenMixer) -> bool:
    return isinstance(mixer, SelfAttention)


def _attention(stack: nn.Module) -> list[SelfAttention]:
    """Returns the self-attention of a stack.

    Raises:
        UserError: If there is none.
    """
    found = [one for one in stack.modules() if isinstance(one, SelfAttention)]
    if not found:
        raise UserError(
            "contexts say what self-attention sees, and there is none here; leave them out"
        )
    return found
