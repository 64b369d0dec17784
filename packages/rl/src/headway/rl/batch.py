"""What a model is trained on: steps of trajectories by name."""

from typing import NotRequired, TypedDict

from torch import Tensor

from headway.rl.layers.observations import Observations


class Batch(TypedDict):
    """Stretches of trajectories, padded on the right.

    Keys:
        observations: What was seen before each action, (B, T, *shape), or several such by name.
        actions: As the environment takes them, (B, T, *shape); (B, T) int64 of single choices.
        rewards: What followed each action, (B, T).
        returns_to_go: What was still to come at each step, (B, T).
        timesteps: Step within the episode, (B, T) int64.
        terminated: True at a step that ended its episode, (B, T).
        truncated: True at the last step of an episode that was cut off, (B, T).
        lengths: Real steps of each stretch, (B,) int64.
        mask: True where a step is real, (B, T): before ``lengths``. What chunks of actions call padding is
            where it is False.
        next_observations: What was seen after each action; only where the data module is asked for it.
        expert_actions: What somebody who knows the task would have done at each step, as ``actions``; only
            where the data have it.
        skills: Number of the skill that each step is part of, (B, T) int64; only where the data say it.
        carried: What a recurrent model carries into the first step of each stretch, (B, K); only where the
            episodes hold it.
        action_before: The action before the first step, zeros where an episode begins; with ``carried``.
        trial: Which try of a chain each step belongs to, (B, T) int64; of chains alone.
        completed: True at the last step of a try that has brought about what was asked for, (B, T); of chains
            alone.
    """

    observations: Observations
    actions: Tensor
    rewards: Tensor
    returns_to_go: Tensor
    timesteps: Tensor
    terminated: Tensor
    truncated: Tensor
    lengths: Tensor
    mask: Tensor
    next_observations: NotRequired[Observations]
    expert_actions: NotRequired[Tensor]
    skills: NotRequired[Tensor]
    carried: NotRequired[Tensor]
    action_before: NotRequired[Tensor]
    trial: NotRequired[Tensor]
    completed: NotRequired[Tensor]


def mean_of_steps(values: Tensor, mask: Tensor) -> Tensor:
    """Returns the mean over the real steps.

    Shape:
        values, mask: (B, T).
    """
    return values.masked_fill(~mask, 0.0).sum() / mask.sum()
