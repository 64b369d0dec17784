"""What optimisers that let a language model learn have in common."""

import copy
import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.generation import Generated
from headway.core.language import LanguageModel
from headway.core.module import evaluating
from headway.molecules.optimization.base import Optimizer, Proposal
from headway.molecules.optimization.diversity import ScaffoldBuckets
from headway.molecules.optimization.memory import Memory, Remembered
from headway.molecules.optimization.targets import Targets
from headway.molecules.scoring import Answer


class Rollout(NamedTuple):
    """What a step has brought.

    Args:
        tokens: What was written, (B, T).
        lengths: Tokens of each, (B,).
        rewards: What each has earned, (B,).
        prior: Log-likelihood of each under the prior, (B,).
        told: What the model was told of each, by the name of the argument.
    """

    tokens: Tensor
    lengths: Tensor
    rewards: Tensor
    prior: Tensor
    told: Mapping[str, Any]


class LearningAgent(Optimizer):
    """Lets a copy of a language model, the agent, learn to write what scores well; the prior stays.

    Args:
        prior: The model, which is not changed.
        batch_size: Molecules of a step; the same one written twice counts once.
        lr: Learning rate of Adam.
        buckets: Lets scaffolds be used up; None for no such filter.
        memory: The best molecules, which are learned from again; None for none.
        targets: What molecules are written for: proteins, which take turns; None for a model that is told
            nothing.
        invalid: What is no molecule earns so much less than nothing.
        seed: Of all that is drawn.

    Raises:
        UserError: If the batch size or the learning rate is not above 0, ``invalid`` is below 0, or there is
            a memory and more than one target.
    """

    def __init__(
        self,
        prior: LanguageModel,
        *,
        batch_size: int = 64,
        lr: float = 5e-4,
        buckets: ScaffoldBuckets | None = None,
        memory: Memory | None = None,
        targets: Targets | None = None,
        invalid: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(seed=seed)
        if batch_size < 1 or lr <= 0:
            raise UserError(f"batch_size is {batch_size} and lr {lr}; both must be above 0")
        if invalid < 0:
            raise UserError(f"invalid is {invalid}; a penalty is 0 (none) or more")
        if memory is not None and targets is not None and len(targets) > 1:
            raise UserError(
                f"there is a memory and {len(targets)} proteins; what was good for one is nothing for "
                "another: replay 0, or one protein"
            )
        self.targets, self.invalid = targets, invalid
        self.prior, self.agent = prior.eval(), copy.deepcopy(prior)
        self.batch_size, self.buckets, self.memory = batch_size, buckets, memory
        self.adam = torch.optim.Adam(self.learned(), lr=lr)
        self._written: Generated | None = None
        self._told: dict[str, Tensor] = {}

    def learned(self) -> list[torch.nn.Parameter]:
        """Returns the parameters that learn."""
        return list(self.agent.parameters())

    @property
    def tuned_model(self) -> nn.Module:
        """The model that has learned to write."""
        return self.agent

    def ask(self) -> Proposal:
        """Writes molecules."""
        generator = torch.Generator().manual_seed(self.seed * 2**20 + self.step)
        prompt, about = self.agent.tokenizer.prompt(""), None
        told: dict[str, Any] = {}
        if self.targets is not None:
            about = self.targets.turn(self.step, self.batch_size)
            told = self.targets.told(about)
        found = self.agent.generate(
            [prompt] * self.batch_size, batch_size=self.batch_size, generator=generator, **told
        )
        rows = zip(about or [0] * self.batch_size, found.tokens.tolist(), strict=True)
        different = list({(row[0], *row[1]): place for place, row in enumerate(rows)}.values())
        self._written = found = Generated(*(one[different] for one in found))
        self._told = {name: value[different] for name, value in told.items()}
        texts = [self.agent.tokenizer.decode(row) for row in found.tokens.tolist()]
        proteins = None
        if self.targets is not None and about is not None:
            proteins = [self.targets.sequences[about[place]] for place in different]
        return Proposal(texts, [-gained for gained in found.log_likelihoods.tolist()], proteins)

    def learn(self, answers: Sequence[Answer]) -> None:
        """Lets the agent take a step."""
        assert self._written is not None
        # What was not scored, because the budget is spent, teaches nothing.
        kept = [place for place, one in enumerate(answers) if one.call or one.canonical is None]
        if not kept:
            return
        answers = [answers[place] for place in kept]
        found = Generated(*(one[kept] for one in self._written))
        told = {name: value[kept] for name, value in self._told.items()}
        rewards = [self._reward(one) for one in answers]
        with torch.no_grad():
            prior = self.prior.score(found.tokens, lengths=found.lengths, **told).sum(dim=1)
        earned = torch.tensor(rewards, device=found.tokens.device)
        rollout = Rollout(found.tokens, found.lengths, earned, prior, told)
        replayed = self._replayed()
        # Without dropout: what is learned from is what was written.
        with evaluating(self.agent):
            self.improve(rollout, replayed)
        if self.memory is not None:
            tokens, likelihoods = found.tokens.tolist(), prior.tolist()
            for place, one in enumerate(answers):
                if one.canonical is not None and one.call is not None:
                    text = tokens[place][: int(found.lengths[place])]
                    self.memory.add(one.canonical, Remembered(text, one.score, likelihoods[place]))

    @abstractmethod
    def improve(self, rollout: Rollout, replayed: Rollout | None) -> None:
        """Changes the agent.

        Args:
            rollout: What it has written.
            replayed: Some of the best so far.
        """

    def state_dict(self) -> dict[str, Any]:
        """Returns what is needed to go on."""
        return {
            **super().state_dict(),
            "agent": self.agent.state_dict(),
            "adam": self.adam.state_dict(),
            "buckets": None if self.buckets is None else self.buckets.state_dict(),
            "memory": None if self.memory is None else self.memory.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state."""
        super().load_state_dict(state)
        self.agent.load_state_dict(state["agent"])
        self.adam.load_state_dict(state["adam"])
        if self.buckets is not None:
            self.buckets.load_state_dict(state["buckets"])
        if self.memory is not None:
            self.memory.load_state_dict(state["memory"])

    def take_step(self, loss: Tensor) -> None:
        """Takes one step of Adam down a loss."""
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    def _reward(self, one: Answer) -> float:
        if one.canonical is None:
            return -self.invalid
        if self.buckets is None:
            return one.score
        return self.buckets.reward(one.canonical, one.score)

    def _replayed(self) -> Rollout | None:
        if self.memory is None:
            return None
        drawn = self.memory.draw(random.Random(f"{self.seed} {self.step}"))
        if not drawn:
            return None
        tokens, lengths = self.agent.tokenizer.padded([one.tokens for one in drawn])
        rewards = torch.tensor([one.score for one in drawn])
        prior = torch.tensor([one.prior for one in drawn])
        told = {} if self.targets is None else self.targets.told([0] * len(drawn))
        tokens, lengths, rewards, prior = (
            one.to(self.agent.device) for one in (tokens, lengths, rewards, prior)
        )
        return Rollout(tokens, lengths, rewards, prior, told)
