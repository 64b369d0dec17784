"""What all sources of trajectories share: choice, split, statistics, windows."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import default_collate

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.splits import part_size
from headway.rl.batch import Batch
from headway.rl.data.chains import AllChains, Chain, DrawnChains
from headway.rl.data.sampling import Sampling, UniformSteps
from headway.rl.data.summary import check_alike, infer_spaces, statistics
from headway.rl.data.trajectory import Trajectory, from_tensors, to_tensors
from headway.rl.data.windows import AllWindows, DrawnEpisodes, DrawnWindows
from headway.rl.models import Statistics
from headway.rl.spaces import Spaces


class DrawingOptions(LoaderOptions, total=False):
    """What a ``TrajectoryData`` passes on."""

    number: int | None
    sampling: Sampling | None
    top_fraction: float
    val: int | float
    split_seed: int
    next_observations: bool
    any_start: bool
    discount: float
    chain: Chain | None


class TrajectoryOptions(DrawingOptions, total=False):
    """What a ``TrajectoryData`` of any environment passes on."""

    batch_size: int
    context_length: int
    return_scale: float | None


class TrajectoryData(DataModule):
    """Gives the trainer stretches of trajectories; a subclass reads them in ``load``.

    Args:
        batch_size: Stretches of a batch.
        context_length: Steps of a stretch.
        number: Stretches of an epoch; as many as hold all steps once if None.
        sampling: Which trajectories are drawn how often; each by its steps if None.
        top_fraction: Only this share of the trajectories, those with the highest returns, is used.
        return_scale: What returns are divided by; the largest absolute return if None.
        val: Share or number of the trajectories that validate.
        split_seed: Of the split.
        next_observations: Whether a batch holds what was seen after each action, too.
        any_start: Whether stretches that are drawn may begin at any step of an episode, and are padded where
            it ends sooner: models that say several actions at once need those near its end.
        discount: Of later rewards in what is still to come.
        chain: Makes one stretch of several trajectories of a task, each ``context_length`` steps; single ones
            if None.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    def __init__(
        self,
        *,
        batch_size: int = 64,
        context_length: int = 20,
        number: int | None = None,
        sampling: Sampling | None = None,
        top_fraction: float = 1.0,
        return_scale: float | None = None,
        val: int | float = 0.05,
        split_seed: int = 0,
        next_observations: bool = False,
        any_start: bool = False,
        discount: float = 1.0,
        chain: Chain | None = None,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        if not 0 < top_fraction <= 1:
            raise UserError(f"top_fraction is {top_fraction}; it must lie between 0 and 1")
        if return_scale is not None and return_scale <= 0:
            raise UserError(f"return_scale is {return_scale}; it must be positive")
        self.context_length, self.number = context_length, number
        self.sampling = sampling if sampling is not None else UniformSteps()
        self.top_fraction, self.return_scale = top_fraction, return_scale
        self.val, self.split_seed = val, split_seed
        self.next_observations, self.any_start = next_observations, any_start
        if chain is not None and (next_observations or any_start):
            raise UserError("chains have neither next_observations nor any_start; leave these out")
        if not 0 < discount <= 1 or (chain is not None and discount < 1):
            raise UserError(
                f"discount is {discount}; it must lie above 0 and be at most 1, and be 1 with a chain"
            )
        self.discount, self.chain = discount, chain
        self.parts: dict[str, list[Trajectory]] = {}
        self.added = 0  # of the trajectories that train, the last ones

    @abstractmethod
    def load(self) -> Sequence[Trajectory]:
        """Returns all trajectories."""

    @property
    def environment(self) -> str | None:
        """Name of the environment that the trajectories come from, if it is known."""
        return None

    @property
    def given_spaces(self) -> Spaces | None:
        """What is seen and done, if the source knows it; after ``load``."""
        return None

    def setup(self, stage: str | None = None) -> None:
        """Loads, checks and splits the trajectories."""
        if self.parts:
            return
        found = self._discounted(self.load())
        if len(found) < 2:
            raise UserError(f"there are {len(found)} trajectories; at least 2 are needed")
        check_alike(found)
        order = np.random.Generator(np.random.PCG64([self.split_seed, len(found)]))
        shuffled = [found[place] for place in order.permutation(len(found)).tolist()]
        count = part_size(self.val, len(found), "val", "trajectories")
        val, train = shuffled[:count], shuffled[count:]
        keep = max(1, round(self.top_fraction * len(train)))
        # The best of the training part alone: what validates stays as it came.
        train = sorted(train, key=lambda one: -one.total)[:keep]
        self.parts = {"train": train, "val": val}
        number = self.number or -(-sum(map(len, train)) // self.context_length)
        if self.chain is None:
            options = {"length": self.context_length, "next_observations": self.next_observations}
            self.train_set = DrawnWindows(
                train, self.sampling, number=number, any_start=self.any_start, **options
            )
            self.val_set = AllWindows(val, **options) if val else None
        else:
            options = {"length": self.context_length, "chain": self.chain}
            self.train_set = DrawnChains(train, self.sampling, number=number, **options)
            self.val_set = AllChains(val, **options) if val else None
        self.predict_set = self.val_set

    def add(self, trajectories: Sequence[Trajectory], *, keep: int | None = None) -> None:
        """Adds episodes to those that train, from the next batch on: of learning by trying.

        They are part of checkpoints, so that a run goes on with them. ``workers`` must be 0: other
        processes would not see them.

        Args:
            trajectories: The new ones.
            keep: How many stay, the newest; all if None.
        """
        if self.workers:
            raise UserError(
                f"workers is {self.workers}; episodes are added while it trains: set it to 0"
            )
        found = [*self.parts["train"], *self._discounted(trajectories)]
        check_alike(found)
        self.parts["train"] = found if keep is None else found[-keep:]
        self.added = min(len(self.parts["train"]), self.added + len(trajectories))
        assert isinstance(self.train_set, DrawnEpisodes)
        self.train_set.replace(self.parts["train"])

    def carry(
        self, part: str, states: Callable[[Sequence[Trajectory]], Sequence[NDArray[np.float32]]]
    ) -> None:
        """Notes what a recurrent model carries into each step of the episodes of a part.

        Args:
            part: ``train`` or ``val``.
            states: Returns (T, K) for each episode.
        """
        episodes = self.parts[part]
        if not episodes:
            return
        pairs = zip(episodes, states(episodes), strict=True)
        self.parts[part] = [replace(one, carried=carried) for one, carried in pairs]
        if part == "train":
            assert isinstance(self.train_set, DrawnEpisodes)
            self.train_set.replace(self.parts[part])
        else:
            assert isinstance(self.val_set, AllWindows)
            self.val_set.trajectories = self.parts[part]

    def state_dict(self) -> dict[str, Any]:
        """Returns the episodes that were added, and how many of those of ``load`` are still there."""
        if not self.added:
            return {}
        train = self.parts["train"]
        loaded = len(train) - self.added
        return {"loaded": loaded, "added": [to_tensors(one) for one in train[loaded:]]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the episodes that were added."""
        if state_dict:
            train = self.parts["train"]
            self.parts["train"] = train[len(train) - state_dict["loaded"] :]
            self.add([from_tensors(one) for one in state_dict["added"]])

    def _discounted(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        if self.discount == 1:
            return list(trajectories)
        return [replace(one, discount=self.discount) for one in trajectories]

    @property
    def spaces(self) -> Spaces:
        """What is seen and done, as the source says or as the arrays show."""
        return self.given_spaces or infer_spaces([*self.parts["train"], *self.parts["val"]])

    @property
    def longest(self) -> int:
        """Steps of the longest trajectory."""
        return max(len(one) for part in self.parts.values() for one in part)

    def statistics(self) -> Statistics:
        """Returns those of the training part: observations, actions, the scale of the returns."""
        space = self.spaces.observation
        return statistics(self.parts["train"], space, return_scale=self.return_scale)

    @staticmethod
    def collate(items: list[Batch]) -> Batch:
        """Stacks stretches."""
        return default_collate(items)  # pyright: ignore[reportReturnType]

    def preprocessing(self) -> dict[str, Any]:
        """Returns the environment and the returns that the policy has seen."""
        if not self.parts:
            return {}
        totals = [one.total for one in self.parts["train"]]
        return {
            "environment": self.environment,
            "returns": {
                "least": min(totals),
                "median": float(np.median(totals)),
                "most": max(totals),
            },
        }
