"""What acts in environments."""

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from headway.rl.spaces import Spaces


@runtime_checkable
class Policy(Protocol):
    """Chooses actions in one or many environments at once: a model, a planner, a script.

    ``predict`` has the signature of Stable-Baselines3. What is remembered of the episodes lies in a state
    that goes in and comes out; ``fork`` copies it for beams and for planning.
    """

    @property
    def spaces(self) -> Spaces | None:
        """What it sees and does; None if it takes any environment."""
        ...

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = True,
        *,
        seeds: NDArray[Any] | None = None,
    ) -> tuple[NDArray[Any], Any]:
        """Returns the actions and what must be given back at the next step.

        Args:
            observation: (B, *shape), or several such by name; without B of a single environment.
            state: What the last call has returned; None at the beginning.
            episode_start: Which environments begin an episode, (B,); all at the beginning.
            deterministic: Whether to take the likeliest action or to draw one.
            seeds: Of what is drawn in each environment from now on, (B,), read where an episode begins; by
                the policy's own seed and the row if None.
        """
        ...

    def observe(self, state: Any, reward: NDArray[Any] | float) -> None:
        """Takes notice of the rewards of the last step, (B,)."""
        ...

    def fork(self, state: Any, rows: NDArray[Any]) -> Any:
        """Returns a copy of a state with the given rows in the given order, which goes its own way."""
        ...
