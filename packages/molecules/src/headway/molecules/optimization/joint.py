"""Optimisation with a model that writes molecules and knows what they are worth."""

import copy
import random
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.molecules.chemistry import canonical
from headway.molecules.models import JointTransformer
from headway.molecules.optimization.base import Optimizer, Proposal
from headway.molecules.scoring import Answer


class JointOptimization(Optimizer):
    """A Joint Transformer writes more molecules than are asked about, and proposes the most promising.

    What the oracle says, it learns: to predict all scores, and to write the best molecules. The paper learns
    from scores that are there beforehand and stops at the proposals; the loop around them is ours.

    Args:
        prior: The model, which is not changed; it gets a new predictor, of the score.
        batch_size: Molecules of a step.
        tries: Molecules written for each that is proposed; 1 proposes whatever is written.
        lr: Learning rate of Adam.
        updates: Steps of Adam after each step.
        elite: How many of the best are written again.
        seed: Of all that is drawn.

    Raises:
        UserError: If a number is out of range.

    Source:
        Izdebski et al. 2023, https://arxiv.org/abs/2310.02066 (probabilistic black-box optimization).
    """

    def __init__(
        self,
        prior: JointTransformer,
        *,
        batch_size: int = 64,
        tries: int = 4,
        lr: float = 5e-4,
        updates: int = 4,
        elite: int = 100,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        for name, value in (("batch_size", batch_size), ("tries", tries), ("elite", elite)):
            if value < 1:
                raise UserError(f"{name} is {value}; it must be at least 1")
        if lr <= 0 or updates < 0:
            raise UserError(f"lr is {lr} and updates {updates}; above 0 and at least 0 are needed")
        self.prior, self.agent = prior.eval(), copy.deepcopy(prior)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.agent.set_properties(["score"])
        self.batch_size, self.tries, self.updates, self.elite = batch_size, tries, updates, elite
        self.adam = torch.optim.Adam(self.agent.parameters(), lr=lr)
        self.known: dict[str, tuple[list[int], float]] = {}
        self._proposed: list[list[int]] = []

    @property
    def tuned_model(self) -> nn.Module:
        """The model that has learned to write."""
        return self.agent

    def ask(self) -> Proposal:
        """Writes molecules, and proposes the most promising ones that were not scored yet."""
        generator = torch.Generator().manual_seed(self.seed * 2**20 + self.step)
        tokenizer, count = self.agent.tokenizer, self.batch_size * (self.tries if self.known else 1)
        found = self.agent.generate(
            [tokenizer.prompt("")] * count, batch_size=count, generator=generator
        )
        pairs = zip(found.tokens.tolist(), found.lengths.tolist(), strict=True)
        rows = [row[:length] for row, length in pairs]
        different: dict[str, list[int]] = {}
        for row in rows:
            text = canonical(tokenizer.decode(row))
            if text is not None and text not in self.known:
                different.setdefault(text, row)
        # Where nothing is new, what was written is shown: the run counts such steps.
        chosen = list(different.values()) or rows[: self.batch_size]
        if self.known and len(chosen) > self.batch_size:
            order = self._expected(chosen).argsort(descending=True, stable=True).tolist()
            chosen = [chosen[place] for place in order[: self.batch_size]]
        self._proposed = chosen[: self.batch_size]
        return Proposal([tokenizer.decode(row) for row in self._proposed])

    def learn(self, answers: Sequence[Answer]) -> None:
        """Learns to write the best, and to predict all."""
        for row, one in zip(self._proposed, answers, strict=True):
            if one.canonical is not None and one.call is not None:
                self.known.setdefault(one.canonical, (row, one.score))
        if not self.known:
            return
        scores = torch.tensor([score for _, score in self.known.values()])
        self.agent.fit_statistics(scores[:, None])
        source = random.Random(f"{self.seed} {self.step}")
        best = sorted(self.known.values(), key=lambda pair: -pair[1])[: self.elite]
        everything = list(self.known.values())
        with evaluating(self.agent):
            for _ in range(self.updates):
                again = source.sample(best, min(self.batch_size, len(best)))
                some = source.sample(everything, min(self.batch_size, len(everything)))
                loss = self._writing([row for row, _ in again]) + self._predicting(some)
                self.adam.zero_grad()
                loss.backward()
                self.adam.step()

    def state_dict(self) -> dict[str, Any]:
        """Returns what is needed to go on."""
        return {
            **super().state_dict(),
            "agent": self.agent.state_dict(),
            "adam": self.adam.state_dict(),
            "known": {text: list(pair) for text, pair in self.known.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        super().load_state_dict(state)
        self.agent.load_state_dict(state["agent"])
        self.adam.load_state_dict(state["adam"])
        self.known = {text: (row, score) for text, (row, score) in state["known"].items()}

    def _writing(self, rows: Sequence[list[int]]) -> Tensor:
        tokens, lengths = self._batch(rows)
        return -self.agent.score(tokens, lengths=lengths).sum() / (lengths - 1).sum()

    def _predicting(self, pairs: Sequence[tuple[list[int], float]]) -> Tensor:
        tokens, lengths = self._batch([row for row, _ in pairs])
        mean, deviation = self.agent.statistics
        wanted = (torch.tensor([score for _, score in pairs]).to(mean)[:, None] - mean) / deviation
        return (self.agent.standardized(tokens, lengths=lengths) - wanted).square().mean()

    @torch.no_grad()
    def _expected(self, rows: Sequence[list[int]]) -> Tensor:
        with evaluating(self.agent):
            tokens, lengths = self._batch(rows)
            return self.agent.standardized(tokens, lengths=lengths)[:, 0]

    def _batch(self, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
        tokens, lengths = self.agent.tokenizer.padded(rows)
        return tokens.to(self.agent.device), lengths.to(self.agent.device)
