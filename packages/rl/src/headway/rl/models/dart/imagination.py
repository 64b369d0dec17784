"""Episodes that a world model imagines, and what they are worth."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from headway.core.cache import CacheGroup

if TYPE_CHECKING:
    from headway.rl.models.dart.model import DART


class Imagined(NamedTuple):
    """Episodes that begin with real steps.

    Args:
        codes: Words of each picture, (B, T + 1, tokens).
        actions: What was done, (B, T), counted from 0.
        rewards: (B, T).
        goes_on: Probability that the episode goes on behind each step, (B, T).
    """

    codes: Tensor
    actions: Tensor
    rewards: Tensor
    goes_on: Tensor


@torch.no_grad()
def imagine(model: "DART", codes: Tensor, actions: Tensor, steps: int) -> Imagined:
    """Plays the actor in the world model.

    Args:
        model: Its actor and its world.
        codes: Words of the real pictures, (B, R, tokens).
        actions: Real actions between them, (B, R - 1), from the start of their space.
        steps: Actions in all, real and imagined.
    """
    dynamics, actor = model.dynamics, model.actor
    start = model.start
    cache = dynamics.init_cache(len(codes))
    memory = actor.first_memory(len(codes))
    seen, taken, rewards, goes_on = [], [], [], []
    now = codes[:, 0]
    for time in range(steps):
        real = time < codes.shape[1] - 1
        seen.append(now)
        features, memory = actor(actor.embed(now), memory)
        if real:
            action = actions[:, time] - start
        else:
            action = torch.multinomial(model.actions.predict(features).softmax(-1), 1)[:, 0]
        taken.append(action)
        token = model.actions.embed(action + start)[:, None]
        # The words of this picture but the last entered the world when they were drawn.
        new = model.eyes.embed(now)
        new, slot = (
            (new, 0) if time == 0 or time < codes.shape[1] else (new[:, -1:], dynamics.tokens - 1)
        )
        known = dynamics.read(cache, torch.cat([new, token], dim=1), time=time, slot=slot)[:, -1]
        outcome = dynamics.outcome(known)
        rewards.append(outcome.rewards)
        goes_on.append(1 - outcome.ends.sigmoid())
        now = codes[:, time + 1] if real else _next_picture(model, cache, known, time + 1)
    seen.append(now)
    return Imagined(*(torch.stack(part, dim=1) for part in (seen, taken, rewards, goes_on)))


def _next_picture(model: "DART", cache: CacheGroup, known: Tensor, time: int) -> Tensor:
    """Draws the words of a picture one by one; all but the last enter the world."""
    dynamics, found = model.dynamics, []
    for slot in range(dynamics.tokens):
        logits = dynamics.next_words(known)
        found.append(torch.multinomial(logits.softmax(-1), 1)[:, 0])
        if slot < dynamics.tokens - 1 and time < dynamics.steps:
            token = model.eyes.embed(found[-1])[:, None]
            known = dynamics.read(cache, token, time=time, slot=slot)[:, -1]
    return torch.stack(found, dim=1)


def lambda_returns(
    rewards: Tensor, goes_on: Tensor, values: Tensor, *, discount: float, lambda_: float
) -> Tensor:
    """Returns what each step is worth, (B, T): rewards for a while, and the critic's word for the rest.

    Args:
        rewards: (B, T).
        goes_on: Probability that the episode goes on behind each step, (B, T).
        values: Of each picture, the last one included, (B, T + 1).
        discount: Of later rewards.
        lambda_: How far returns are made of rewards.

    Source:
        Sutton and Barto 2018, "Reinforcement Learning", section 12.1.
    """
    following, found = values[:, -1], []
    for time in reversed(range(rewards.shape[1])):
        mixed = (1 - lambda_) * values[:, time + 1] + lambda_ * following
        following = rewards[:, time] + discount * goes_on[:, time] * mixed
        found.append(following)
    return torch.stack(found[::-1], dim=1)
