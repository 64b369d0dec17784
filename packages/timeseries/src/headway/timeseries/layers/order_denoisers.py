"""Networks that say which noise is in the next orders of a market, from the last ones and the book."""

from abc import abstractmethod
from functools import partial

import torch
from torch import Tensor, nn

from headway.core.blocks import PostNormBlock
from headway.core.blocks.block import FeedForwardFactory, MixerFactory
from headway.core.embeddings import step_embedding
from headway.core.errors import UserError
from headway.core.feedforward import MLP
from headway.core.layout import Layout
from headway.core.mixers import SelfAttention
from headway.core.module import Module
from headway.core.positions.sinusoidal import SinusoidalPosition, sinusoids
from headway.core.stacks import Encoder
from headway.timeseries.layers.denoising import DenoisingBlock
from headway.timeseries.layers.torch_norm import TorchLayerNorm

Unbiased = partial(SelfAttention, qkv_bias=False, out_bias=False)
LeakyMLP = partial(MLP, activation=partial(nn.PReLU, init=0.01))


class OrderDenoiser(Module):
    """Says which noise is in the orders to come.

    Args:
        order: Numbers of an order.
        book: Numbers of a snapshot of the book.
        past: Orders that are known.
        future: Orders that are generated at once.
    """

    def __init__(self, order: int, book: int, past: int, future: int) -> None:
        super().__init__()
        self.order, self.book, self.past, self.future = order, book, past, future

    @abstractmethod
    def forward(self, x: Tensor, step: Tensor, orders: Tensor, books: Tensor) -> Tensor:
        """Returns the noise.

        Shape:
            x: (B, future, order). step: (B,). orders: (B, past, order). books: (B, past, book), as each
            order left it. Output: the same as x.
        """


class JoinedOrders(OrderDenoiser):
    """Each order beside the book that it met, in one token; all tokens together give the noise.

    The step of the diffusion is added to every token as if it were a position. The first order, and all that
    are generated but the first, meet a book of zeros.

    Args:
        order: Numbers of an order.
        book: Numbers of a snapshot of the book.
        past: Orders that are known.
        future: Orders that are generated at once.
        dim: Channels of a token: half of them for the order, half for the book; a multiple of 4.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixers, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.

    Source:
        Berti et al. 2025, https://arxiv.org/abs/2502.07071, section 4, and its code. In that code the
        attention of a token reads its own value alone (sums over separate indices in ``einsum``), so that
        tokens meet only in the last layer; here they attend as the paper says.
    """

    def __init__(
        self,
        order: int,
        book: int,
        past: int,
        future: int,
        *,
        dim: int = 128,
        depth: int = 8,
        heads: int = 1,
        mixer: MixerFactory = Unbiased,
        feedforward: FeedForwardFactory = LeakyMLP,
    ) -> None:
        super().__init__(order, book, past, future)
        if dim % 4:
            raise UserError(f"dim {dim} must be a multiple of 4: half of it is the order's")
        half = dim // 2
        self.order_embedding = nn.Sequential(
            nn.Linear(order, half // 2), nn.Linear(half // 2, half)
        )
        self.book_embedding = nn.Linear(book, half)
        self.position = SinusoidalPosition(dim)
        self.norm = TorchLayerNorm(dim)
        self.encoder = Encoder(
            dim,
            depth,
            heads,
            mixer=mixer,
            feedforward=feedforward,
            norm=TorchLayerNorm,
            block=PostNormBlock,
            final_norm=False,
        )
        self.gather = nn.Linear(dim * (past + future), dim * future)
        self.head = nn.Sequential(nn.Linear(dim, half), nn.Linear(half, order))

    def forward(self, x: Tensor, step: Tensor, orders: Tensor, books: Tensor) -> Tensor:
        """Returns the noise."""
        met = torch.cat(
            [
                books.new_zeros(books.shape[0], 1, self.book),
                books,
                books.new_zeros(books.shape[0], self.future - 1, self.book),
            ],
            dim=1,
        )
        told = self.order_embedding(torch.cat([orders, x], dim=1))
        tokens = torch.cat([told, self.book_embedding(met)], dim=2)
        tokens = tokens + self.position(Layout(), tokens.shape[1]).to(tokens)
        tokens = tokens + sinusoids(step[:, None, None], tokens.shape[2]).to(tokens)
        tokens, _ = self.encoder(self.norm(tokens))
        return self.head(self.gather(tokens.flatten(1)).unflatten(1, (self.future, -1)))


class AddedBooks(OrderDenoiser):
    """The book is added to the order that left it; every norm is told the step: headway's own choice.

    Args:
        order: Numbers of an order.
        book: Numbers of a snapshot of the book.
        past: Orders that are known.
        future: Orders that are generated at once.
        dim: Channels of a token, even.
        depth: Number of blocks.
        heads: Heads of the mixers.
        mixer: Builds the mixers, ``(dim, heads)``.
        feedforward: Builds the feed-forwards, ``(dim)``.
    """

    def __init__(
        self,
        order: int,
        book: int,
        past: int,
        future: int,
        *,
        dim: int = 128,
        depth: int = 8,
        heads: int = 4,
        mixer: MixerFactory = SelfAttention,
        feedforward: FeedForwardFactory = MLP,
    ) -> None:
        super().__init__(order, book, past, future)
        if dim % 2:
            raise UserError(f"dim {dim} must be even: half of it are sines of the step")
        self.dim = dim
        self.order_embedding = nn.Sequential(nn.Linear(order, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.book_embedding = nn.Sequential(nn.Linear(book, dim), nn.SiLU(), nn.Linear(dim, dim))
        # What is noisy has no book yet, and tokens must tell which they are.
        self.unknown = nn.Parameter(0.02 * torch.randn(dim))
        self.position = SinusoidalPosition(dim)
        self.blocks = nn.ModuleList(
            DenoisingBlock(dim, heads, mixer=mixer, feedforward=feedforward) for _ in range(depth)
        )
        self.head = nn.Linear(dim, order)

    def forward(self, x: Tensor, step: Tensor, orders: Tensor, books: Tensor) -> Tensor:
        """Returns the noise."""
        known = self.order_embedding(orders) + self.book_embedding(books)
        tokens = torch.cat([known, self.order_embedding(x) + self.unknown], dim=1)
        tokens = tokens + self.position(Layout(), tokens.shape[1]).to(tokens)
        condition = step_embedding(step, self.dim).to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, condition)
        return self.head(tokens[:, -self.future :])
