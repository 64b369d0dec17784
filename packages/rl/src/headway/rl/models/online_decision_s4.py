"""Decision S4, learning on in the environment: an actor with states, and critics."""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.core.mixers import DiagonalStateSpace
from headway.core.passed import Passed
from headway.core.systems import system
from headway.core.weights import from_pretrained
from headway.rl.batch import Batch, mean_of_steps
from headway.rl.layers.actions import ActionFactory, TriedActions
from headway.rl.layers.carried import carried, carry
from headway.rl.layers.observations import Observations, each
from headway.rl.models.actor_critic import hidden
from headway.rl.models.base import Statistics
from headway.rl.models.decision_s4 import DecisionS4, DecisionS4Options
from headway.rl.models.judging import Judging, check_following, slow
from headway.rl.models.trajectory import hide
from headway.rl.spaces import Space

# What a state depends on besides what has entered it.
KERNEL = ("log_step", "log_decay", "frequency")


class Judge(nn.Module):
    """Says what an action is worth, given what the actor knows.

    Args:
        dim: Channels of what the actor knows.
        width: Of the hidden layers.
        depth: Hidden layers.
        action_dim: Numbers of an action.

    Shape:
        features: (B, T, dim). actions: (B, T, action_dim), scaled. Output: (B, T).
    """

    def __init__(self, dim: int, width: int, depth: int, action_dim: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim + action_dim, width)
        self.hidden = hidden(width, depth)
        self.head = nn.Linear(width, 1)

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:
        """Returns the worth."""
        x = torch.cat([features, actions], dim=-1)
        return self.head(self.hidden(self.first(x)))[..., 0]


@system(
    id=97,
    name="Decision S4, second stage",
    paper="https://arxiv.org/abs/2306.05167",
    claim="after learning from data, an actor that takes steps from replayed states and critics that know "
    "what it knows bring more than the first stage did, and in two seeds more than without tries of its own "
    "or without the states; on a body that was not seen",
    test="packages/rl/tests/models/test_online_decision_s4.py",
)
class OnlineDecisionS4(Judging, DecisionS4):
    """A ``DecisionS4`` with critics, which learns by the deterministic policy gradient.

    ``headway.rl.tasks.OnlineActorCritic`` trains it on stretches of what it has played, each with the state
    that was carried into its first step. From there actor and slow actor take steps as in play; critics
    judge actions by what the actor knows, which they do not change. The kernels of the state spaces stay as
    they are, so that a state goes on meaning what it meant.

    Actions are numbers; choices have no gradient by which a critic could move them and are refused.

    Args:
        alpha: How much the critics count beside what was tried, as of ``TD3BC``.
        discount: Of what comes a step later.
        target_rate: How far slow critics and slow actor move towards what they follow at each step.
        judge_dim: Width of the critics.
        judge_depth: Their hidden layers.
        **decision_s4: As of ``DecisionS4``.

    Note:
        As in DDPG, with the lower of two critics in place of one, and with an actor that stays near what was
        tried: without that its tanh was at its bounds before the critics knew anything. States are made anew
        for the whole replay before every epoch, so that they fit the weights. The paper was not at hand
        beyond its abstract; these choices, and the frozen kernels, are ours.

    Raises:
        UserError: If actions are choices, or the mixers remember more the longer an episode is.

    Source:
        Bar-David et al. 2023, https://arxiv.org/abs/2306.05167, section 4.3; DDPG of Lillicrap et al. 2016,
        https://arxiv.org/abs/1509.02971.
    """

    plain_actions: ClassVar[ActionFactory] = TriedActions

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        discount: float = 0.99,
        target_rate: float = 0.005,
        judge_dim: int = 128,
        judge_depth: int = 2,
        **decision_s4: Passed[DecisionS4Options],
    ) -> None:
        super().__init__(**decision_s4)
        if min(judge_dim, judge_depth) < 1:
            raise UserError(
                f"judge_dim is {judge_dim} and judge_depth {judge_depth}; both must be at least 1"
            )
        if alpha < 0:
            raise UserError(f"alpha is {alpha}; it must be at least 0")
        self.alpha = alpha
        self._judge_by(discount=discount, target_rate=target_rate)
        self._check(self.actions.space)
        made = {**decision_s4, "actions": decision_s4.get("actions") or TriedActions}
        self._slow = partial(DecisionS4, **made)
        self._size = (judge_dim, judge_depth)
        carried(self.init_cache(1))
        self._judge()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the losses of critics and actor, and their sum as ``loss``."""
        check_following(self, batch)
        if "carried" not in batch:
            raise UserError(
                "a batch has no carried states; train OnlineDecisionS4 with "
                "headway.rl.tasks.OnlineActorCritic"
            )
        known = self.along(batch)
        with torch.no_grad():
            coming = self._along(self.slow_actor, batch)[:, 1:]
            least = self._least(coming, self._said(self.slow_actor, coming))
            left = self.discount * (~batch["terminated"]).to(least)
            wanted = batch["rewards"] / self.return_scale + left * least
        real, here = batch["mask"], known[:, :-1]
        taken = self._said_of(batch["actions"])
        errors = [(one(here.detach(), taken) - wanted).square() for one in self.critics]
        # The critic judges the actor, and does not learn from it.
        fixed = {name: value.detach() for name, value in self.critics[0].named_parameters()}
        said = self._said(self, here)
        near = (said - taken).square().mean(dim=-1)
        judged = (here.detach(), said)
        worth: Any = functional_call(self.critics[0], fixed, judged)
        size = mean_of_steps(worth.detach().abs(), real).clamp_min(1e-6)
        parts = {
            "critic": mean_of_steps(torch.stack(errors).sum(dim=0), real),
            "actor": mean_of_steps(near - self.alpha / size * worth, real),
        }
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def along(self, batch: Batch) -> Tensor:
        """Returns what is known before each action of a stretch and after its last, (B, T + 1, dim)."""
        return self._along(self, batch)

    @torch.no_grad()
    def states(self, batch: Batch) -> Tensor:
        """Returns what is carried into each step of whole episodes, (B, T, K)."""
        steps = (batch["observations"], batch["actions"], batch["returns_to_go"])
        hidden_steps = ~batch["mask"]
        seen, taken, wanted = (hide(one, hidden_steps) for one in steps)
        tokens = self.enter(self.embed(seen, taken, wanted, batch["timesteps"])[:, :, 0])
        cache = self.init_cache(len(tokens))
        found = []
        for time in range(tokens.shape[1]):
            found.append(carried(cache))
            self.decoder(tokens[:, time : time + 1], cache=cache)
        return torch.stack(found, dim=1)

    def followed(self) -> list[tuple[nn.Module, nn.Module]]:
        """Returns the copies, and what they follow."""
        parts = [(part, getattr(self, name)) for name, part in self.slow_actor.named_children()]
        return [(self.slow_critics, self.critics), *parts]

    def prepare(self, statistics: Statistics) -> None:
        """Takes the statistics of the training data, unless it knows those of the first stage."""
        if not self.has_statistics:
            super().prepare(statistics)
        self.begin()

    def begin(self) -> None:
        """Puts the slow actor where the actor is."""
        own = self.state_dict()
        self.slow_actor.load_state_dict({name: own[name] for name in self.slow_actor.state_dict()})

    def _along(self, actor: DecisionS4, batch: Batch) -> Tensor:
        assert "next_observations" in batch
        assert "carried" in batch
        assert "action_before" in batch
        real = batch["mask"]
        following = batch["next_observations"]
        # What is seen, asked for and done, and the time, one step further than the stretch.
        seen = _joined(batch["observations"], following)
        left = batch["returns_to_go"] - batch["rewards"]
        wanted = torch.cat([batch["returns_to_go"][:, :1], left], dim=1)
        times = torch.cat([batch["timesteps"][:, :1], batch["timesteps"] + 1], dim=1)
        done = torch.cat([batch["action_before"][:, None], batch["actions"]], dim=1)
        # The embedding of a step reads the action before it: of the first that before the stretch.
        seen, wanted, times = (
            each(lambda x: torch.cat([x[:, :1], x], dim=1), one) for one in (seen, wanted, times)
        )
        done = torch.cat([done, done[:, -1:]], dim=1)
        extended = torch.cat([real[:, :1], real[:, :1], real], dim=1)
        seen, wanted, times, done = (hide(one, ~extended) for one in (seen, wanted, times, done))
        tokens = actor.enter(actor.embed(seen, done, wanted, times)[:, 1:, 0])
        cache = actor.init_cache(len(tokens))
        carry(cache, batch["carried"])
        layout = None if bool(real.all()) else Layout(lengths=batch["lengths"] + 1)
        return actor.decoder(tokens, layout, cache=cache)[0]

    @staticmethod
    def _said(actor: DecisionS4, known: Tensor) -> Tensor:
        assert isinstance(actor.actions, TriedActions)
        return actor.actions.inside(known)

    def _said_of(self, actions: Tensor) -> Tensor:
        assert isinstance(self.actions, TriedActions)
        return self.actions.scaled(actions)

    def _least(self, known: Tensor, actions: Tensor) -> Tensor:
        return torch.minimum(*(critic(known, actions) for critic in self.slow_critics))

    def _judge(self) -> None:
        """Builds what depends on the spaces besides the actor."""
        for module in self.decoder.modules():
            if isinstance(module, DiagonalStateSpace):
                for name in KERNEL:
                    getattr(module, name).requires_grad_(False)
        sizes = (self.dim, *self._size, self.action_dim)
        made = nn.ModuleList([Judge(*sizes) for _ in range(2)])
        self.critics = made.to(self.return_scale.device, self.return_scale.dtype)
        self.slow_critics = slow(self.critics)
        self.slow_actor = self._slow(spaces=self.spaces.to_json()).requires_grad_(False)
        self.slow_actor.to(self.return_scale.device, self.return_scale.dtype)
        self.begin()

    def _check(self, space: Space) -> None:
        if not isinstance(self.actions, TriedActions):
            raise UserError(
                f"{type(self).__name__} learns actions that are numbers, with "
                f"headway.rl.layers.TriedActions; those are {space}: stay with DecisionS4, or use "
                "OnlineDecisionTransformer"
            )

    def _observe(self, space: Space) -> None:
        super()._observe(space)
        self._judge()

    def _act(self, space: Space) -> None:
        super()._act(space)
        self._check(space)
        self._judge()


def _joined(first: Observations, rest: Observations) -> Observations:
    """Returns the first step of observations in front of others."""
    if isinstance(first, Mapping):
        assert isinstance(rest, Mapping)
        return {name: torch.cat([one[:, :1], rest[name]], dim=1) for name, one in first.items()}
    assert isinstance(rest, Tensor)
    return torch.cat([first[:, :1], rest], dim=1)


def online_decision_s4(
    source: str,
    *,
    noise: float = 0.1,
    alpha: float = 1.0,
    discount: float = 0.99,
    target_rate: float = 0.005,
    judge_dim: int = 128,
    judge_depth: int = 2,
) -> OnlineDecisionS4:
    """Loads a ``DecisionS4`` that has learned from data, for its second stage; this is what recipes name.

    Args:
        source: A run, a folder or a file.
        noise: Of the actions that it tries, see ``TriedActions``.
        alpha: How much the critics count beside what was tried.
        discount: Of what comes a step later.
        target_rate: How far copies follow.
        judge_dim: Width of the critics.
        judge_depth: Their hidden layers.

    Raises:
        UserError: If it holds another model, or one whose actions are choices.
    """
    model = from_pretrained(source)
    if isinstance(model, OnlineDecisionS4):
        return model
    if not isinstance(model, DecisionS4):
        raise UserError(f"{source} holds a {type(model).__name__}, not a DecisionS4")
    options = dict(model.init_args)
    options |= {"spaces": model.spaces.to_json(), "actions": partial(TriedActions, noise=noise)}
    made = OnlineDecisionS4(
        alpha=alpha,
        discount=discount,
        target_rate=target_rate,
        judge_dim=judge_dim,
        judge_depth=judge_depth,
        **options,
    )
    made.load_state_dict(model.state_dict(), strict=False)
    made.begin()
    return made
