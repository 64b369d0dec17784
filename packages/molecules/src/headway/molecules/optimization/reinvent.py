"""REINVENT."""

import torch

from headway.core.language import LanguageModel
from headway.core.systems import system
from headway.molecules.optimization.agent import LearningAgent, Rollout
from headway.molecules.optimization.diversity import ScaffoldBuckets
from headway.molecules.optimization.memory import Memory
from headway.molecules.optimization.targets import Targets


@system(
    id=None,
    name="REINVENT",
    paper="https://arxiv.org/abs/1704.07555",
    claim="the likelihood under the prior, raised by the score, is learned: what is written scores better, "
    "and without the score it does not",
    test="packages/molecules/tests/optimization/test_agents.py",
)
class Reinvent(LearningAgent):
    """Pulls the log-likelihood of a molecule towards that of the prior plus ``sigma`` times its score.

    The loss is the squared distance between the two. Any ``LanguageModel`` learns so, whatever it is made of.

    Args:
        prior: The model, which is not changed.
        sigma: What a score of 1 is worth, in nats; REINVENT has 128, PMO found 500.
        batch_size: Molecules of a step.
        lr: Learning rate of Adam.
        buckets: Lets scaffolds be used up; None for no such filter.
        memory: The best molecules, which are learned from again; None for none.
        targets: As of every ``LearningAgent``.
        invalid: As of every ``LearningAgent``.
        seed: Of all that is drawn.

    Source:
        Olivecrona et al. 2017, https://arxiv.org/abs/1704.07555, eq. 9; memory and filter of Blaschke et al.
        2020, https://doi.org/10.1021/acs.jcim.0c00915.
    """

    def __init__(
        self,
        prior: LanguageModel,
        *,
        sigma: float = 500.0,
        batch_size: int = 64,
        lr: float = 5e-4,
        buckets: ScaffoldBuckets | None = None,
        memory: Memory | None = None,
        targets: Targets | None = None,
        invalid: float = 0.0,
        seed: int = 0,
    ) -> None:
        what = {"buckets": buckets, "memory": memory, "targets": targets, "invalid": invalid}
        super().__init__(prior, batch_size=batch_size, lr=lr, seed=seed, **what)
        self.sigma = sigma

    def improve(self, rollout: Rollout, replayed: Rollout | None) -> None:
        """Takes a step towards the augmented likelihood."""
        losses = [self._losses(one) for one in (rollout, replayed) if one is not None]
        self.take_step(torch.cat(losses).mean())

    def _losses(self, rollout: Rollout) -> torch.Tensor:
        own = self.agent.score(rollout.tokens, lengths=rollout.lengths, **rollout.told).sum(dim=1)
        return (rollout.prior + self.sigma * rollout.rewards - own).square()
