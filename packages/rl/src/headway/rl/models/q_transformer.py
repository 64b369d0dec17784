"""The Q-transformer."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.module import evaluating
from headway.core.passed import Passed
from headway.core.systems import system
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import ActionFactory, AutoregressiveValues
from headway.rl.layers.observations import Observations, each
from headway.rl.models.base import Statistics, form
from headway.rl.models.judging import Judging, check_following, slow
from headway.rl.models.trajectory import TrajectoryModel, TrajectoryModelOptions
from headway.rl.spaces import Space


@system(
    id=66,
    name="Q-Transformer",
    paper="https://arxiv.org/abs/2309.10150",
    claim="from good and bad actions it learns the best ones, though their numbers must agree and some were "
    "never tried: not if numbers are judged each by itself, nor if what was never tried is left alone",
    test="packages/rl/tests/models/test_q_transformer.py",
)
class QTransformer(Judging, TrajectoryModel):
    """Says what each number of an action is worth, given past observations and the numbers before it.

    The worth of a number is that of the best next number; of the last one, the reward and what the next step
    is worth, by a copy that follows slowly. It is at least what came about in the data (``monte_carlo``).
    What the data did not do is held towards the least return (``conservative``).
    ``headway.rl.tasks.OfflineActorCritic`` trains it. See ``TrajectoryModel`` for the other arguments;
    ``actions`` is ``AutoregressiveValues`` if None. Neither past actions nor returns are looked at.

    Args:
        discount: Of what comes a step later; with ``monte_carlo`` the data's ``discount`` must be the same.
        target_rate: How far the slow copy moves at each step.
        conservative: Weight of holding what the data did not do towards the least return; 1 in the paper.
        least_return: The least return there is, in units of rewards.
        monte_carlo: Whether nothing is worth less than what followed it in the data.
        n_steps: Steps of rewards before what comes next is judged.
        **trajectory: As of every ``TrajectoryModel``.

    Raises:
        UserError: If an argument is out of its range, or ``actions`` says no values.

    Note:
        After the paper alone: its authors have published no code. What the data did not do is, as there, any
        other value than that of this step: what is done seldom is held low, too, and the more so the larger
        ``conservative`` is.

    Source:
        Chebotar et al. 2023, https://arxiv.org/abs/2309.10150, eq. 1 and 2; section 4.3.
    """

    tokens_per_step: ClassVar[int] = 1
    reads_actions: ClassVar[bool] = False
    plain_actions: ClassVar[ActionFactory] = AutoregressiveValues

    def __init__(
        self,
        *,
        discount: float = 0.98,
        target_rate: float = 0.01,
        conservative: float = 1.0,
        least_return: float = 0.0,
        monte_carlo: bool = True,
        n_steps: int = 1,
        **trajectory: Passed[TrajectoryModelOptions],
    ) -> None:
        super().__init__(**trajectory)
        self._judge_by(discount=discount, target_rate=target_rate)
        if conservative < 0 or n_steps < 1:
            raise UserError(
                f"conservative is {conservative} and n_steps {n_steps}; at least 0 and 1 are needed"
            )
        self.conservative, self.least_return = conservative, least_return
        self.monte_carlo, self.n_steps = monte_carlo, n_steps
        self.judge  # noqa: B018 - refuses other heads
        self._copy()

    @property
    def judge(self) -> AutoregressiveValues:
        """What says what actions are worth."""
        if not isinstance(self.actions, AutoregressiveValues):
            raise UserError(
                f"{type(self.actions).__name__} does not say what actions are worth; a QTransformer needs "
                "headway.rl.layers.AutoregressiveValues"
            )
        return self.actions

    def embed(
        self, observations: Observations, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor
    ) -> Tensor:
        """Returns the token of the observation of each step."""
        return (self.observation_embedding(observations) + self.at_time(timesteps))[:, :, None]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss, its parts, and the mean worth of the best action of each step.

        The parts are the halved squared errors of the data's numbers (``error``) and of what the data did
        not do (``unseen``).
        """
        check_following(self, batch)
        mask = batch["mask"]
        chosen = self.judge.encode(batch["actions"])
        said = self.judge.values(self.features(batch), chosen[..., :-1])
        wanted, best = self._wanted(batch, chosen)
        least = self.least_return / self.return_scale
        errors, unseen = torch.zeros_like(wanted[..., 0]), torch.zeros_like(wanted[..., 0])
        for k, values in enumerate(said):
            taken = values.gather(-1, chosen[..., k : k + 1])[..., 0]
            errors = errors + (taken - wanted[..., k]).square() / 2
            low = (values - least).square().sum(dim=-1) - (taken - least).square()
            unseen = unseen + low / max(1, values.shape[-1] - 1) / 2
        error, low = (mean_of_steps(one / len(said), mask) for one in (errors, unseen))
        return {
            "loss": error + self.conservative * low,
            "error": error,
            "unseen": low,
            "worth": mean_of_steps(best, mask) * self.return_scale,
        }

    @torch.no_grad()
    def _wanted(self, batch: Batch, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what the numbers of each action are worth (B, T, N), and the best of each step (B, T)."""
        judge, number = self.slow.judge, chosen.shape[-1]
        with evaluating(self.slow):
            features = self.slow.features(_with_last(batch))
            # Number by number: the best first number is worth what the best action is.
            first = judge.values(features, chosen.new_zeros(*features.shape[:2], 0))[0]
            best = first.amax(dim=-1)
            last = self._last(batch, best)
            wanted = last[..., None].expand(*last.shape, number)
            if number > 1 and judge.autoregressive:
                later = judge.values(features[:, :-1], chosen[..., :-1])[1:]
                following = [values.amax(dim=-1) for values in later]
                wanted = torch.stack([*following, last], dim=-1)
        if self.monte_carlo:
            wanted = torch.maximum(wanted, (batch["returns_to_go"] / self.return_scale)[..., None])
        return wanted, best[:, :-1]

    def _last(self, batch: Batch, best: Tensor) -> Tensor:
        """Returns rewards and what comes behind them, (B, T), given the worth of all steps, (B, T + 1)."""
        rewards = batch["rewards"] / self.return_scale
        left = self.discount * (~batch["terminated"]).to(rewards)
        found = rewards + left * best[:, 1:]
        ends = (
            torch.arange(1, rewards.shape[1] + 1, device=rewards.device)
            == batch["lengths"][:, None]
        )
        for _ in range(self.n_steps - 1):
            # Behind the last step of a stretch there is only what it is worth.
            coming = torch.where(ends, best[:, 1:], found.roll(-1, dims=1))
            coming[:, -1] = best[:, -1]
            found = rewards + left * coming
        return found

    def followed(self) -> list[tuple[nn.Module, nn.Module]]:
        """Returns the copy, and what it follows."""
        parts = [(getattr(self.slow, name), one) for name, one in self.named_children()]
        return [(copied, one) for copied, one in parts if one is not self.slow]

    def prepare(self, statistics: Statistics) -> None:
        """Takes the statistics of the training data; the slow copy begins where the model is."""
        super().prepare(statistics)
        self._copy()

    def _copy(self) -> None:
        self.slow: Any = None  # a copy has no copy
        self.slow = slow(self)

    def _observe(self, space: Space) -> None:
        other = form(space) != form(self.spaces.observation)
        super()._observe(space)
        if other:
            self._copy()

    def _act(self, space: Space) -> None:
        other = form(space) != form(self.spaces.action)
        super()._act(space)
        self.judge  # noqa: B018 - refuses other heads
        if other:
            self._copy()


def _with_last(batch: Batch) -> Batch:
    """Returns a batch with what was seen after the last action of each stretch as a step of its own."""
    assert "next_observations" in batch
    before, after = batch["observations"], batch["next_observations"]
    if isinstance(before, Tensor):
        assert isinstance(after, Tensor)
        seen: Observations = torch.cat([before[:, :1], after], dim=1)
    else:
        seen = {
            name: torch.cat([one[:, :1], after[name]], dim=1)  # pyright: ignore[reportCallIssue, reportArgumentType]
            for name, one in before.items()
        }
    times = batch["timesteps"][:, :1] + torch.arange(
        batch["mask"].shape[1] + 1, device=batch["mask"].device
    )

    def longer(values: Tensor) -> Tensor:
        return torch.cat([values[:, :1], values], dim=1)

    return {
        **batch,
        "observations": seen,
        "actions": each(longer, batch["actions"]),
        "returns_to_go": longer(batch["returns_to_go"]),
        "timesteps": times,
        "lengths": batch["lengths"] + 1,
        "mask": torch.cat([batch["mask"].any(dim=1, keepdim=True), batch["mask"]], dim=1),
    }
