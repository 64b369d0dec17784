"""What all data modules of recordings with texts share."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import Sampler

from headway.core.errors import UserError
from headway.core.training import DataModule, ItemOptions, Passed
from headway.core.training.invalid import InvalidItems, OnInvalid
from headway.core.training.randomness import mix, restored_cpu, seed_cpu
from headway.core.training.sampling import SharedBatches
from headway.speech.data.batching import LengthBatches, pad
from headway.speech.data.front_end import FrontEnd
from headway.speech.data.spec_augment import SpecAugment
from headway.speech.data.speech_set import SpeechSet
from headway.speech.data.tokenizer import Case, Tokenizer, Unit

# Recordings that mean and deviation of the features are measured on.
MEASURED = 500


class SpeechOptions(ItemOptions, total=False):
    """What a ``SpeechData`` passes on."""

    batch_seconds: float
    batch_size: int
    front_end: FrontEnd | None
    case: Case
    augment: SpecAugment | None
    on_invalid: OnInvalid


class SpeechData(DataModule):
    """Recordings with texts, in batches of similar length.

    Training batches are filled up to ``batch_seconds`` of padded audio. Features and vocabulary are those
    of the model's weights where it was loaded from some (``pretrained_cfg``); otherwise the features are
    normalised by the statistics of the training recordings, and the vocabulary is what occurs in their
    texts.

    Args:
        batch_seconds: Most seconds of a training batch, padding counted.
        batch_size: Most recordings of a batch.
        front_end: What a recording goes through; by default as the model asks for, or 80 mel bands.
        unit: What an entry of the vocabulary is, where the model does not say.
        case: What happens to letters, where the model does not say.
        augment: Masks parts of the training features.
        on_invalid: What happens to rows and files that cannot be used; ``skip`` leaves them out and says
            which and how many.
        **loader: As of every ``DataModule``: workers, seed, shuffle, eval_batch_size.
    """

    def __init__(
        self,
        *,
        batch_seconds: float = 60.0,
        batch_size: int = 32,
        front_end: FrontEnd | None = None,
        unit: Unit = "characters",
        case: Case = "lower",
        augment: SpecAugment | None = None,
        on_invalid: OnInvalid = "raise",
        **loader: Passed[ItemOptions],
    ) -> None:
        # Every batch is as full as its seconds allow; none is the smaller one.
        super().__init__(batch_size=batch_size, drop_last=False, **loader)
        if batch_seconds <= 0:
            raise UserError(f"batch_seconds is {batch_seconds}; it must be above 0")
        self.batch_seconds = batch_seconds
        self.front_end = front_end
        self.unit: Unit = unit
        self.case: Case = case
        self.augment = augment
        self.invalid = InvalidItems(on_invalid, "utterances")
        self._tokenizer: Tokenizer | None = None
        self._front_end: FrontEnd | None = None

    @abstractmethod
    def load(self) -> dict[str, SpeechSet]:
        """Returns the sets ``train`` and, where there are such, ``val`` and ``test``."""

    def usable(
        self, data: SpeechSet, tokenizer: Tokenizer, front_end: FrontEnd, tokens: "Tokens"
    ) -> SpeechSet:
        """Returns the items that can be learned from; override it to check them.

        Args:
            data: The items.
            tokenizer: From texts to entries.
            front_end: From samples to the model's input.
            tokens: How many tokens the model makes of so many steps of input.
        """
        return data

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary."""
        self.setup()
        assert self._tokenizer is not None
        return self._tokenizer

    def preprocessing(self) -> dict[str, Any]:
        """Returns the front end and the vocabulary."""
        self.setup()
        assert self._front_end is not None
        return {"frontend": self._front_end.as_dict(), "tokenizer": self.tokenizer.as_dict()}

    def setup(self, stage: str | None = None) -> None:
        """Finds the recordings, and measures or takes over what they go through, once."""
        if self._tokenizer is not None:
            return
        sets = self.load()
        if not len(sets["train"]):
            raise UserError("the train split has no recordings that can be used")
        cfg = self._model_cfg()
        front_end = self.front_end
        if front_end is None:
            front_end = FrontEnd.from_dict(cfg.get("frontend", {}))
        if not front_end.complete:
            front_end = self._measured(front_end, sets["train"])
        if self.augment is not None and front_end.kind == "waveform":
            raise UserError(
                "SpecAugment masks mel bands, and this model hears waveforms; set augment to null"
            )
        if "tokenizer" in cfg:
            tokenizer = Tokenizer.from_dict(cfg["tokenizer"])
        else:
            texts = sets["train"].texts()
            tokenizer = Tokenizer.from_texts(texts, unit=self.unit, case=self.case)
        kept = 0
        for split, data in sets.items():
            data = self.usable(data, tokenizer, front_end, self._tokens())
            kept += len(data)
            if not len(data):
                raise UserError(f"the {split} split has no recordings that can be used")
            data.on_invalid = self.invalid.policy
            data.prepare(front_end, tokenizer, self.augment if split == "train" else None)
            setattr(self, f"{split}_set", data)
        self.predict_set = self.test_set or self.val_set
        self.invalid.log(kept + len(self.invalid.errors))
        self._front_end, self._tokenizer = front_end, tokenizer

    def train_batches(self, order: Sampler[int]) -> Iterable[list[int]]:
        """Groups the recordings by length."""
        data = self.train_set
        assert isinstance(data, SpeechSet)
        batches = LengthBatches(
            order, data.seconds, batch_seconds=self.batch_seconds, batch_size=self.batch_size
        )
        rank, world = self._place()
        # Each device alone would have another number of batches.
        return batches if world == 1 else SharedBatches(batches, rank=rank, world=world)

    collate = staticmethod(pad)

    def _measured(self, front_end: FrontEnd, data: SpeechSet) -> FrontEnd:
        """Returns the front end with the statistics of the training recordings, evenly chosen."""
        chosen = range(0, len(data), -(-len(data) // MEASURED))
        with restored_cpu():
            seed_cpu(mix(self.seed, "statistics"))
            return front_end.with_statistics(
                data.recording(index, front_end.sample_rate)[0] for index in chosen
            )

    def _model(self) -> Any:
        task = getattr(self.trainer, "lightning_module", None)
        return getattr(task, "backbone", None)

    def _model_cfg(self) -> Mapping[str, Any]:
        return getattr(self._model(), "pretrained_cfg", None) or {}

    def _tokens(self) -> "Tokens":
        return getattr(self._model(), "output_lengths", lambda lengths: lengths)


Tokens = Callable[[Tensor], Tensor]
