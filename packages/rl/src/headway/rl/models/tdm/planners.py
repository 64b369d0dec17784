"""Which actions to try in a model, and which of them to take."""

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.core.module import Module
from headway.rl.layers.streams import Streams

# What sequences of actions (B, N, H, M), in tokens, are worth, (B, N).
Score = Callable[[Tensor], Tensor]


class Planner(Module):
    """Draws sequences of actions, lets a model say what they are worth, and chooses the first action.

    Actions are tokens, so numbers and choices are planned alike.

    Args:
        candidates: Sequences that are tried at once.
        horizon: Actions of a sequence.
    """

    def __init__(self, *, candidates: int = 64, horizon: int = 8) -> None:
        super().__init__()
        if candidates < 1 or horizon < 1:
            raise UserError(
                f"candidates is {candidates} and horizon {horizon}; both must be at least 1"
            )
        self.candidates, self.horizon = candidates, horizon

    @abstractmethod
    def plan(
        self, score: Score, sizes: Sequence[int], streams: Streams, proposed: Tensor | None = None
    ) -> Tensor:
        """Returns the tokens of the action to take now, (B, M).

        Args:
            score: Says what sequences are worth.
            sizes: How many tokens each number of an action has, M of them.
            streams: Randomness of each of the B rows.
            proposed: Sequences that are tried beside those that are drawn, (B, P, H, M).
        """

    def even(self, sizes: Sequence[int], rows: int, device: torch.device) -> Tensor:
        """Returns probabilities of the tokens that are all alike, (B, H, M, most tokens)."""
        most = max(sizes)
        each = [F.pad(torch.full((size,), 1 / size), (0, most - size)) for size in sizes]
        return torch.stack(each).to(device).expand(rows, self.horizon, -1, -1)

    def draw(self, probabilities: Tensor, streams: Streams, proposed: Tensor | None) -> Tensor:
        """Returns drawn sequences and proposed ones, (B, N, H, M)."""
        number = self.candidates - (0 if proposed is None else proposed.shape[1])
        wide = probabilities[:, None].expand(-1, max(0, number), -1, -1, -1)
        drawn = streams.choose(wide)
        return drawn if proposed is None else torch.cat([proposed, drawn], dim=1)


class RandomShooting(Planner):
    """Takes the best of sequences that are drawn evenly."""

    def plan(
        self, score: Score, sizes: Sequence[int], streams: Streams, proposed: Tensor | None = None
    ) -> Tensor:
        """Returns the first action of the best sequence."""
        rows = len(streams)
        device = torch.device(streams.device or "cpu")
        plans = self.draw(self.even(sizes, rows, device), streams, proposed)
        return plans[torch.arange(rows, device=device), score(plans).argmax(dim=1), 0]


class _Refining(Planner):
    """Draws again and again, each time more like those sequences that were worth most."""

    def __init__(
        self, *, candidates: int = 64, horizon: int = 8, rounds: int = 3, keep: float = 0.1
    ) -> None:
        super().__init__(candidates=candidates, horizon=horizon)
        if rounds < 1 or not 0 <= keep < 1:
            raise UserError(
                f"rounds is {rounds} and keep {keep}; rounds must be at least 1, keep from 0 to below 1"
            )
        self.rounds, self.keep = rounds, keep

    @abstractmethod
    def weights(self, worth: Tensor) -> Tensor:
        """Returns how much each sequence counts, (B, N), 1 in all, given what they are worth."""

    def plan(
        self, score: Score, sizes: Sequence[int], streams: Streams, proposed: Tensor | None = None
    ) -> Tensor:
        """Returns the first action of the best of all sequences that were tried."""
        rows = len(streams)
        device = torch.device(streams.device or "cpu")
        probabilities = self.even(sizes, rows, device)
        best = torch.full((rows,), -torch.inf, device=device)
        first = torch.zeros(rows, len(sizes), dtype=torch.int64, device=device)
        for _ in range(self.rounds):
            plans = self.draw(probabilities, streams, proposed)
            worth = score(plans)
            top, place = worth.max(dim=1)
            mine = plans[torch.arange(rows, device=device), place, 0]
            first = torch.where((top > best)[:, None], mine, first)
            best = torch.maximum(best, top)
            shares = (
                F.one_hot(plans, max(sizes)).to(worth) * self.weights(worth)[:, :, None, None, None]
            )
            probabilities = self.keep * probabilities + (1 - self.keep) * shares.sum(dim=1)
            proposed = None
        return first


class CrossEntropy(_Refining):
    """Draws again, by the tokens of the best sequences (cross-entropy method).

    Args:
        candidates: Sequences that are tried at once.
        horizon: Actions of a sequence.
        rounds: How often.
        keep: Share of the earlier probabilities in the next ones.
        elites: How many sequences count as the best.
    """

    def __init__(
        self,
        *,
        candidates: int = 32,
        horizon: int = 8,
        rounds: int = 3,
        keep: float = 0.1,
        elites: int = 6,
    ) -> None:
        super().__init__(candidates=candidates, horizon=horizon, rounds=rounds, keep=keep)
        if not 1 <= elites <= candidates:
            raise UserError(f"elites is {elites}; it must lie between 1 and {candidates}")
        self.elites = elites

    def weights(self, worth: Tensor) -> Tensor:
        """Returns the same weight of each of the best."""
        best = worth.topk(self.elites, dim=1).indices
        return torch.zeros_like(worth).scatter(1, best, 1 / self.elites)


class MPPI(_Refining):
    """Draws again, by the tokens of all sequences, the more of one the more it is worth (path integrals).

    Args:
        candidates: Sequences that are tried at once.
        horizon: Actions of a sequence.
        rounds: How often.
        keep: Share of the earlier probabilities in the next ones.
        temperature: In deviations of what the sequences are worth; near 0 the best alone counts.

    Source:
        Williams et al. 2017, https://arxiv.org/abs/1707.02342.
    """

    def __init__(
        self,
        *,
        candidates: int = 32,
        horizon: int = 8,
        rounds: int = 3,
        keep: float = 0.1,
        temperature: float = 0.5,
    ) -> None:
        super().__init__(candidates=candidates, horizon=horizon, rounds=rounds, keep=keep)
        if temperature <= 0:
            raise UserError(f"temperature is {temperature}; it must be above 0")
        self.temperature = temperature

    def weights(self, worth: Tensor) -> Tensor:
        """Returns the weights of a Boltzmann distribution."""
        spread = worth.std(dim=1, keepdim=True, correction=0).clamp_min(1e-6)
        return (worth / (self.temperature * spread)).softmax(dim=1)
