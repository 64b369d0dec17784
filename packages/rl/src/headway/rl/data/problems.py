"""What all data of planning problems share: parts without copies of each other, batches of equal lengths."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import Dataset, Sampler

from headway.core.errors import UserError
from headway.core.training import DataModule, LoaderOptions, Passed
from headway.core.training.buckets import LengthBuckets
from headway.rl.data.problem_parts import draw_parts
from headway.rl.environments import environment_of
from headway.rl.planning import Problem, Problems

PARTS = ("val", "test", "train")


class ProblemOptions(LoaderOptions, total=False):
    """What a ``ProblemData`` passes on."""

    number: int
    val: int
    test: int
    data_seed: int
    batch_size: int


class ProblemData(DataModule):
    """Problems to learn from, to validate and to test; none is a symmetric copy of another.

    Args:
        problems: Draws them, such as ``headway.rl.mazes.Mazes``.
        number: Problems to learn from.
        val: Problems that validate.
        test: Problems that nothing is chosen by.
        data_seed: Of the problems; those of validation and test do not depend on ``number``.
        batch_size: Items of a batch, of about equal length.
        **loader: As of every ``DataModule``: workers, seed, shuffle, drop_last, eval_batch_size.
    """

    def __init__(
        self,
        *,
        problems: Problems,
        number: int = 20000,
        val: int = 200,
        test: int = 500,
        data_seed: int = 0,
        batch_size: int = 32,
        **loader: Passed[LoaderOptions],
    ) -> None:
        super().__init__(batch_size=batch_size, **loader)
        for name, value, least in (("number", number, 1), ("val", val, 1), ("test", test, 0)):
            if value < least:
                raise UserError(f"{name} is {value}; it must be {least} or more")
        self.problems = problems
        self.number, self.val, self.test, self.data_seed = number, val, test, data_seed
        self.parts: dict[str, list[Any]] = {}
        self.lengths: Sequence[int] = ()

    def fits(self, problem: Problem) -> bool:
        """Whether a problem is taken."""
        return True

    @abstractmethod
    def items(self, part: str) -> Dataset[Any]:
        """Returns what is learned of the problems of a part, one item for each."""

    @abstractmethod
    def tokens_of(self, item: Any) -> int:
        """Returns how long an item is."""

    def setup(self, stage: str | None = None) -> None:
        """Draws the problems."""
        if self.parts:
            return
        counts = [self.val, self.test, self.number]
        drawn = draw_parts(counts, self.problems, seed=self.data_seed, fits=self.fits)
        self.parts = dict(zip(PARTS, drawn, strict=True))
        self.learn(self.items("train"))
        self.val_set = self.predict_set = self.items("val")
        self.test_set = self.items("test") if self.test else None

    def learn(self, items: Dataset[Any]) -> None:
        """Takes what is to be learned."""
        self.train_set = items
        count = len(items)  # pyright: ignore[reportArgumentType]
        self.lengths = [self.tokens_of(items[place]) for place in range(count)]

    def train_batches(self, order: Sampler[int]) -> Iterable[list[int]]:
        """Groups items of about equal length."""
        return LengthBuckets(
            order, self.lengths, batch_size=self.batch_size, drop_last=self.drop_last
        )

    def preprocessing(self) -> dict[str, Any]:
        """Returns the environment and the return of a shortest way."""
        whole = {"least": 1.0, "median": 1.0, "most": 1.0}
        return {"environment": environment_of(self.problems), "returns": whole}


class Rows(Dataset[Any]):
    """Items in memory.

    Args:
        rows: The items.
    """

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]
