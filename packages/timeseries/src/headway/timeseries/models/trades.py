"""TRADES: the next orders of a market, out of noise, given the last ones and the book."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.generation.diffusion import CosineDiffusion, GaussianDiffusion, sample
from headway.core.module import Module
from headway.core.systems import system
from headway.timeseries.layers.order_denoisers import JoinedOrders, OrderDenoiser

Process = partial(CosineDiffusion, steps=100)


@system(
    id=394,
    name="TRADES",
    paper="https://arxiv.org/abs/2502.07071",
    claim="orders are generated under the condition of past orders and the book: another book, other orders; "
    "the network is told how noisy they still are",
    test="packages/timeseries/tests/models/test_trades.py",
)
class TRADES(Module):
    """A transformer that says which noise is in the next orders, from the last ones and the book.

    Past orders and noisy ones stand in one sequence, all of which attends to all. Orders and book are scaled
    by the user.

    Args:
        order: Numbers of an order (kind, time since the last one, size, price, side ...).
        book: Numbers of a snapshot (prices and volumes of its levels).
        past: Orders that are known.
        future: Orders that are generated at once.
        dim: Channels of a token.
        depth: Number of blocks.
        heads: Heads of the mixers.
        network: Builds the network, ``(order, book, past, future, dim=, depth=, heads=)``: ``JoinedOrders``,
            as published, or ``AddedBooks``.
        process: Builds the diffusion process.

    Shape:
        x: (B, future, order). orders: (B, past, order). books: (B, past, book). step: (B,).

    Raises:
        UserError: If a size is below 1 or does not suit the network.

    Source:
        Berti et al. 2025, https://arxiv.org/abs/2502.07071, section 4. Not here: the learned variance of the
        steps, its loss and the choice of steps by their loss; the loss is the squared error, theirs its
        root for each item.
    """

    def __init__(
        self,
        *,
        order: int = 6,
        book: int = 40,
        past: int = 255,
        future: int = 1,
        dim: int = 128,
        depth: int = 8,
        heads: int = 1,
        network: Callable[[int, int, int, int], OrderDenoiser] = JoinedOrders,
        process: Callable[[], GaussianDiffusion] = Process,
    ) -> None:
        super().__init__()
        sizes = {"order": order, "book": book, "past": past, "future": future}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")
        self.order, self.book, self.past, self.future = order, book, past, future
        self.process = process()
        make: Any = network
        self.network = make(order, book, past, future, dim=dim, depth=depth, heads=heads)

    def forward(self, x: Tensor, step: Tensor, orders: Tensor, books: Tensor) -> Tensor:
        """Returns the noise in the orders to come."""
        for name, tensor, shape in (
            ("x", x, (self.future, self.order)),
            ("orders", orders, (self.past, self.order)),
            ("books", books, (self.past, self.book)),
        ):
            if tensor.shape[1:] != shape:
                raise UserError(
                    f"this TRADES reads {name} (B, {shape[0]}, {shape[1]}), got {tuple(tensor.shape)}"
                )
        return self.network(x, step, orders, books)

    def loss(
        self, start: Tensor, step: Tensor, noise: Tensor, orders: Tensor, books: Tensor
    ) -> Tensor:
        """Returns the mean squared error of the noise."""
        noisy = self.process.add_noise(start, step, noise)
        return (self(noisy, step, orders, books) - noise).square().mean()

    @torch.no_grad()
    def generate(
        self,
        orders: Tensor,
        books: Tensor,
        *,
        steps: int | None = None,
        eta: float = 1.0,
        limit: float | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns the next orders, (B, future, order), drawn under the condition of what was.

        Args:
            orders: The last orders.
            books: The book at each of them.
            steps: Steps of the sampler; all of the process if None.
            eta: How much fresh noise enters at each step; see ``sample``.
            limit: Largest absolute value of an order's numbers, if there is one.
            generator: Of the noise.
        """

        def denoiser(x: Tensor, step: Tensor) -> Tensor:
            return self.process.start_of(x, step, self(x, step, orders, books))

        return sample(
            denoiser,
            self.process,
            (len(orders), self.future, self.order),
            steps=steps,
            eta=eta,
            limit=limit,
            generator=generator,
            dtype=orders.dtype,
            device=orders.device,
        )
