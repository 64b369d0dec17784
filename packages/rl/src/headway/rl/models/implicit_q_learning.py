"""Implicit Q-learning."""

from torch import Tensor

from headway.core.errors import UserError
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.batch import Batch
from headway.rl.models.actor_critic import ActorCritic, ActorCriticOptions


@system(
    id=None,
    name="IQL",
    paper="https://arxiv.org/abs/2110.06169",
    claim="from data of good and bad actions it learns the better ones, without asking for the worth of any "
    "that the data do not hold",
    test="packages/rl/tests/models/test_actor_critic.py",
)
class ImplicitQLearning(ActorCritic):
    """Learns the worth of a state as a high expectile over the data's actions, and clones the better of them.

    See ``ActorCritic`` for the other arguments.

    Args:
        expectile: Of the worth of the actions; .5 is their mean, near 1 their best.
        temperature: How much an advantage counts, in units of returns divided by the data's ``return_scale``.
        most: Largest weight of an action.
        **actor_critic: As of every ``ActorCritic``.

    Note:
        The actor has no spread of its own: its head says how it is cloned, by squared errors where nothing
        else is given, which is a Gaussian of one width.

    Source:
        Kostrikov et al. 2021, https://arxiv.org/abs/2110.06169, algorithm 1; eq. 5 to 7.
    """

    def __init__(
        self,
        *,
        expectile: float = 0.7,
        temperature: float = 3.0,
        most: float = 100.0,
        **actor_critic: Passed[ActorCriticOptions],
    ) -> None:
        super().__init__(**actor_critic)
        if not 0 < expectile < 1 or temperature < 0 or most <= 0:
            raise UserError(
                f"expectile is {expectile}, temperature {temperature} and most {most}; expectile lies "
                "between 0 and 1, temperature is at least 0, most above 0"
            )
        self.expectile, self.temperature, self.most = expectile, temperature, most

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Returns those of value, critics and actor."""
        assert "next_observations" in batch
        seen = batch["observations"]
        worth = self.least(seen, self.inside(batch["actions"])).detach()
        value = self.value(seen)
        above = worth - value
        weight = (self.expectile - (above < 0).to(above)).abs()
        counts = (self.temperature * above.detach()).exp().clamp_max(self.most)
        return {
            "value": weight.detach() * above.square(),
            "critic": self.errors(batch, self.value(batch["next_observations"])),
            "actor": counts * self.actions.loss(self.act(seen), batch),
        }

    def _judge(self) -> None:
        super()._judge()
        self.value = self._worth(of_actions=False)
