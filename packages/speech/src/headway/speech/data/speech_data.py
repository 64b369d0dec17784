"""What all data modules of recordings with texts share."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from torch import Tensor
from torch.utils.data import Sampler

from headway.core.errors import UserError
from headway.core.training import DataModule, ItemOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.randomness import mix, restored_cpu, seed_cpu
from headway.core.training.sampling import SharedBatches
from headway.speech.batch import pad
from headway.speech.data.batching import LengthBatches, evenly
from headway.speech.data.perturbations import Perturbation
from headway.speech.data.speech_set import SpeechSet
from headway.speech.speech_model import SpeechModel

log = logging.getLogger(__name__)


class SpeechOptions(ItemOptions, total=False):
    """What a ``SpeechData`` passes on."""

    batch_seconds: float
    batch_size: int
    on_invalid: OnInvalid
    perturb: Sequence[Perturbation]
    quadratic_seconds: float | None


class SpeechData(DataModule):
    """Recordings with texts, in batches of similar length.

    Training batches are filled up to ``batch_seconds`` of padded audio. The model that hears them says at
    which rate they are read, what their texts are cut into and which of them can be learned (``use``).

    Args:
        batch_seconds: Most seconds of a training batch, padding counted.
        batch_size: Most recordings of a batch.
        on_invalid: What happens to rows and files that cannot be used; ``skip`` leaves them out and says
            which and how many.
        perturb: What is done to the samples of training recordings, one after the other, such as
            ``SpeedPerturbation`` and ``NoisePerturbation``.
        quadratic_seconds: Recordings that are so long count twice in the budget, others by the square of
            their length besides, as attention costs; by their length alone if None.
        **loader: As of every ``DataModule``: workers, seed, shuffle, eval_batch_size.
    """

    def __init__(
        self,
        *,
        batch_seconds: float = 60.0,
        batch_size: int = 32,
        on_invalid: OnInvalid = "raise",
        perturb: Sequence[Perturbation] = (),
        quadratic_seconds: float | None = None,
        **loader: Passed[ItemOptions],
    ) -> None:
        # Every batch is as full as its seconds allow; none is the smaller one.
        super().__init__(batch_size=batch_size, drop_last=False, **loader)
        if batch_seconds <= 0:
            raise UserError(f"batch_seconds is {batch_seconds}; it must be above 0")
        if quadratic_seconds is not None and quadratic_seconds <= 0:
            raise UserError(
                f"quadratic_seconds is {quadratic_seconds}; it must be above 0, or null"
            )
        self.batch_seconds, self.quadratic_seconds = batch_seconds, quadratic_seconds
        self.perturb = tuple(perturb)
        self.invalid = InvalidItems(on_invalid, "utterances")
        self._sets: dict[str, SpeechSet] | None = None

    @abstractmethod
    def load(self) -> dict[str, SpeechSet]:
        """Returns the sets ``train`` and, where there are such, ``val`` and ``test``."""

    def usable(self, data: SpeechSet, model: SpeechModel) -> SpeechSet:
        """Returns the items that a model can learn from; override it to check them."""
        return data

    def setup(self, stage: str | None = None) -> None:
        """Finds the recordings, once."""
        if self._sets is not None:
            return
        self._keep(self.load())

    def texts(self) -> list[str]:
        """Returns texts that hold everything that is said in training."""
        self.setup()
        assert self._sets is not None
        return list(self._sets["train"].texts())

    def recordings(self, sample_rate: int) -> Iterator[Tensor]:
        """Yields training recordings, evenly chosen, to measure mean and deviation on."""
        self.setup()
        assert self._sets is not None
        data = self._sets["train"]
        with restored_cpu():
            seed_cpu(mix(self.seed, "statistics"))
            for index in evenly(len(data)):
                yield data.recording(index, sample_rate).waveform

    def use(self, model: SpeechModel) -> None:
        """Says which model hears the recordings, and leaves out what it cannot learn from.

        Raises:
            UserError: If nothing is left of a split, or ``on_invalid`` is ``raise`` and an item cannot be
                used.
        """
        self.setup()
        assert self._sets is not None
        self._keep({split: self.usable(data, model) for split, data in self._sets.items()})
        for data in self._sets.values():
            data.use(model)
        self.invalid.log(sum(map(len, self._sets.values())) + len(self.invalid.errors))

    def _keep(self, sets: dict[str, SpeechSet]) -> None:
        for split, data in sets.items():
            if not len(data):
                raise UserError(f"the {split} split has no recordings that can be used")
            data.on_invalid = self.invalid.policy
            data.perturb = self.perturb if split == "train" else ()
            setattr(self, f"{split}_set", data)
        self._sets = sets
        self.predict_set = self.test_set or self.val_set

    def train_batches(self, order: Sampler[int]) -> Iterable[list[int]]:
        """Groups the recordings by length."""
        data = self.train_set
        assert isinstance(data, SpeechSet)
        longest = prod(perturbation.longest for perturbation in self.perturb)
        batches = LengthBatches(
            order,
            [longest * seconds for seconds in data.seconds],
            batch_seconds=self.batch_seconds,
            batch_size=self.batch_size,
            quadratic_seconds=self.quadratic_seconds,
        )
        log.info("%d training batches, %.1f %% padding", len(batches), 100 * batches.padding())
        rank, world = self._place()
        # Each device alone would have another number of batches.
        return batches if world == 1 else SharedBatches(batches, rank=rank, world=world)

    collate = staticmethod(pad)
