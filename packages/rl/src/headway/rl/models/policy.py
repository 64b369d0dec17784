"""Acting with a model of trajectories, in one or many environments at once."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headway.core.cache import CacheGroup
from headway.core.errors import UserError
from headway.core.layout import Layout
from headway.rl.models.trajectory import TrajectoryModel


@dataclass
class PolicyState:
    """What a policy remembers of each environment; the last steps stand on the right.

    Args:
        observations: (B, K, observation_dim).
        actions: (B, K, action_dim), or (B, K).
        returns_to_go: (B, K).
        timesteps: (B, K).
        steps: How many of the K steps are real, (B,).
        time: Timestep of the next step, (B,).
        wanted: Return that is still to come, (B,).
        cache: What the model has computed of the present contexts; None if it must be made anew.
    """

    observations: Tensor
    actions: Tensor
    returns_to_go: Tensor
    timesteps: Tensor
    steps: Tensor
    time: Tensor
    wanted: Tensor
    cache: CacheGroup | None


class Policy:
    """Chooses actions so that the return asked for comes about.

    As long as episodes are shorter than the context, a step costs the new tokens alone: the rest is in
    the cache, each environment at its own length. When a context begins to slide, its keys would still
    know steps that are out of sight, so the window is computed anew: the answer is always that of the
    full pass.

    Args:
        model: In evaluation mode.
        target_return: Return to ask for, one for all environments or one for each.
        seed: Of the actions that are drawn.
    """

    def __init__(
        self,
        model: TrajectoryModel,
        *,
        target_return: float | NDArray[np.floating] = 0.0,
        seed: int = 0,
    ) -> None:
        if not np.isfinite(target_return).all():
            raise UserError(f"the return that is asked for is {target_return}; it must be finite")
        self.model = model
        self.target_return = target_return
        self.device = next(model.parameters()).device
        self.generator = torch.Generator(self.device).manual_seed(seed)

    @torch.no_grad()
    def predict(
        self,
        observation: NDArray,
        state: PolicyState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray, PolicyState]:
        """Returns the actions and what must be given back at the next step.

        Args:
            observation: (B, observation_dim), or (observation_dim,) of a single environment.
            state: What the last call returned; None at the beginning.
            episode_start: Which environments begin an episode, (B,); all at the beginning.
            deterministic: Whether to take the likeliest action or to draw one.
        """
        single = np.ndim(observation) == 1
        seen = torch.as_tensor(np.atleast_2d(observation), dtype=torch.float32, device=self.device)
        if seen.shape[1] != self.model.observation_dim:
            raise UserError(
                f"the environment shows {seen.shape[1]} numbers, the model was trained on "
                f"{self.model.observation_dim}; they do not belong together"
            )
        if state is None:
            state = self._begin(seen.shape[0])
            episode_start = np.ones(seen.shape[0], dtype=bool)
        if episode_start is not None:
            self._restart(state, torch.as_tensor(np.atleast_1d(episode_start), device=self.device))
        slides = bool((state.steps == self.model.context_length).any())
        before = state.actions[:, -1:].clone(), state.timesteps[:, -1:].clone()
        self._append(state, seen)
        if slides:
            state.cache = None
            predicted = self._window(state)
        elif state.cache is None:
            predicted = self._refill(state)
        else:
            predicted = self._step(state, state.cache, before)
        chosen = self.model.actions.choose(
            predicted, deterministic=deterministic, generator=self.generator
        )
        state.actions[:, -1] = chosen
        out = chosen.cpu().numpy()
        return (out[0] if single else out), state

    def observe(self, state: PolicyState, reward: NDArray | float) -> None:
        """Takes the rewards of the last step off the return that is still to come."""
        gained = torch.as_tensor(np.atleast_1d(reward), dtype=torch.float32, device=self.device)
        state.wanted -= gained

    def _begin(self, batch: int) -> PolicyState:
        model, steps = self.model, self.model.context_length
        zeros = torch.zeros(batch, steps, device=self.device)
        return PolicyState(
            observations=zeros.new_zeros(batch, steps, model.observation_dim),
            actions=model.actions.blank(batch, steps),
            returns_to_go=zeros,
            timesteps=zeros.long(),
            steps=torch.zeros(batch, dtype=torch.int64, device=self.device),
            time=torch.zeros(batch, dtype=torch.int64, device=self.device),
            wanted=torch.zeros(batch, device=self.device),
            cache=model.init_cache(batch),
        )

    def _restart(self, state: PolicyState, rows: Tensor) -> None:
        if not bool(rows.any()):
            return
        target = torch.as_tensor(self.target_return, dtype=torch.float32, device=self.device)
        state.wanted = torch.where(rows, target, state.wanted)
        state.steps[rows] = 0
        state.time[rows] = 0
        if state.cache is not None:
            state.cache.reset(rows)

    def _append(self, state: PolicyState, observation: Tensor) -> None:
        for name, new in (
            ("observations", observation),
            ("actions", self.model.actions.blank(len(observation))),
            ("returns_to_go", state.wanted),
            ("timesteps", state.time),
        ):
            old: Tensor = getattr(state, name)
            setattr(state, name, torch.cat([old[:, 1:], new[:, None]], dim=1))
        state.steps = (state.steps + 1).clamp_max(self.model.context_length)
        state.time = state.time + 1

    def _mask(self, state: PolicyState) -> Tensor:
        steps = self.model.context_length
        return torch.arange(steps, device=self.device) >= steps - state.steps[:, None]

    def _window(self, state: PolicyState) -> Tensor:
        """Runs all contexts through the model."""
        return self.model(
            state.observations,
            state.actions,
            state.returns_to_go,
            state.timesteps,
            self._mask(state),
        )[:, -1]

    def _refill(self, state: PolicyState) -> Tensor:
        """Runs all contexts through the model and fills the cache with them."""
        model = self.model
        longest = int(state.steps.max())
        # Real steps to the left, as a cache wants them.
        positions = torch.arange(longest, device=self.device) - state.steps[:, None]
        slots = positions % model.context_length
        rows = torch.arange(len(slots), device=self.device)[:, None]
        inputs = (state.observations, state.actions, state.returns_to_go, state.timesteps)
        tokens = model.embed(*(x[rows, slots] for x in inputs)).flatten(1, 2)
        # The action of the last step is not chosen yet.
        lengths = state.steps * model.tokens_per_step - 1
        state.cache = model.init_cache(len(lengths))
        return self._last(tokens, lengths, state.cache)

    def _step(self, state: PolicyState, cache: CacheGroup, before: tuple[Tensor, Tensor]) -> Tensor:
        """Adds the last action and the new return and observation to the cache."""
        model = self.model
        new = model.embed(
            state.observations[:, -1:],
            state.actions[:, -1:],
            state.returns_to_go[:, -1:],
            state.timesteps[:, -1:],
        )[:, 0, :-1]
        taken, time = before
        past = model.embed(state.observations[:, -1:], taken, state.returns_to_go[:, -1:], time)
        tokens = torch.cat([past[:, 0, -1:], new], dim=1)
        # An episode that begins has no last action: its tokens move to the left.
        first = state.steps == 1
        moved = tokens.roll(-1, dims=1)
        tokens = torch.where(first[:, None, None], moved, tokens)
        return self._last(tokens, model.tokens_per_step - first.long(), cache)

    def _last(self, tokens: Tensor, lengths: Tensor, cache: CacheGroup) -> Tensor:
        x = self.model.decode(tokens, Layout(lengths=lengths), cache)
        rows = torch.arange(len(lengths), device=self.device)
        return self.model.actions.predict(x[rows, lengths - 1])
