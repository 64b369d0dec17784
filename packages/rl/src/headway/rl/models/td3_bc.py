"""TD3 with behaviour cloning."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from headway.core.errors import UserError
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.batch import Batch
from headway.rl.layers.actions import ScaledActions
from headway.rl.layers.observations import Observations
from headway.rl.models.actor_critic import ActorCritic, ActorCriticOptions
from headway.rl.models.judging import slow


@system(
    id=None,
    name="TD3+BC",
    paper="https://arxiv.org/abs/2106.06860",
    claim="an actor that goes up its critic and is held near the data does better than the data",
    test="packages/rl/tests/models/test_actor_critic.py",
)
class TD3BC(ActorCritic):
    """An actor that does what its critic finds good, and stays near the actions of the data.

    See ``ActorCritic`` for the other arguments.

    Args:
        alpha: How much the critic counts beside the data; 0 is behaviour cloning.
        noise: Deviation of what is added to the next action, in halves of the distance of its bounds.
        most_noise: Where that is cut off.
        **actor_critic: As of every ``ActorCritic``.

    Note:
        TD3 moves the actor at every second step of the critics; here it moves at each.

    Source:
        Fujimoto and Gu 2021, https://arxiv.org/abs/2106.06860, eq. 3 to 5; TD3 of Fujimoto et al. 2018,
        https://arxiv.org/abs/1802.09477.
    """

    def __init__(
        self,
        *,
        alpha: float = 2.5,
        noise: float = 0.2,
        most_noise: float = 0.5,
        **actor_critic: Passed[ActorCriticOptions],
    ) -> None:
        super().__init__(**actor_critic)
        if min(alpha, noise, most_noise) < 0:
            raise UserError(
                f"alpha is {alpha}, noise {noise} and most_noise {most_noise}; none may be below 0"
            )
        self.alpha, self.noise, self.most_noise = alpha, noise, most_noise

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns those of critics and actor."""
        assert "next_observations" in batch
        seen = batch["observations"]
        said = self.inside(self(seen))
        judge, fixed = self.critics[0], dict(self.critics[0].named_parameters())
        # The critic judges the actor, and does not learn from it.
        fixed = {name: value.detach() for name, value in fixed.items()}
        worth: Any = functional_call(judge, fixed, (seen, said))
        real = batch["mask"].to(worth)
        size = (worth.detach().abs() * real).sum() / real.sum()
        near = (said - self.inside(batch["actions"])).square().mean(dim=-1)
        return {
            "critic": self.errors(batch, self._coming(batch["next_observations"])),
            "actor": near - self.alpha / size.clamp_min(1e-6) * worth,
        }

    @torch.no_grad()
    def _coming(self, following: Observations) -> Tensor:
        """Returns what the next observations are worth, by what the slow actor would do there."""
        embedding, actor, head = self.slow_actor
        assert isinstance(head, ScaledActions)
        said = self.inside(head.predict(actor(embedding(following))))
        if self.training:
            noise = self.noise * torch.randn_like(said)
            said = (said + noise.clamp(-self.most_noise, self.most_noise)).clamp(-1, 1)
        return self.least(following, said)

    def followed(self) -> list[tuple[nn.Module, nn.Module]]:
        """Returns the copies, and what they follow."""
        return [*super().followed(), (self.slow_actor, self._actor())]

    def prepare(self, statistics: Any) -> None:
        """Takes the statistics of the training data; the slow actor begins where the actor is."""
        super().prepare(statistics)
        self.slow_actor = slow(self._actor())

    def _actor(self) -> nn.ModuleList:
        return nn.ModuleList([self.observation_embedding, self.actor, self.actions])

    def _judge(self) -> None:
        super()._judge()
        self.slow_actor = slow(self._actor())
