"""What the adapters of language models have in common."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel, EncoderLanguageModel, TextModel, Tokenizer
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.tokenizers import read_tokenizer, written_tokenizer
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Rule, Table, rename

# Of every configuration of transformers' decoders and encoders.
DEFAULTS: dict[str, Any] = {
    "is_encoder_decoder": False,
    "is_decoder": False,
    "add_cross_attention": False,
}


class TextAdapter(ABC):
    """Reads one kind of model; a subclass says what a configuration means and how tensors are called.

    Attributes:
        model_type: In config.json.
        prefix: In front of the names of the base model in files of a model with a head.
        vocab_size: Of the published class.
        head: Our name of what says tokens, where it may share the weights of the embedding.
        embedding: Our name of those.
    """

    name: ClassVar[str]
    model_type: ClassVar[str]
    prefix: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]]
    defaults: ClassVar[dict[str, Any]]
    vocab_size: ClassVar[int] = 32000
    head: ClassVar[str] = "head.weight"
    embedding: ClassVar[str] = "embedding.weight"

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of such a model."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == self.model_type

    @abstractmethod
    def model(self, config: dict[str, Any], **options: Any) -> Any:
        """Returns the model of a configuration.

        Args:
            config: The configuration.
            **options: What all kinds have: the tokenizer.
        """

    @abstractmethod
    def rules(self, model: Any) -> list[Rule]:
        """Returns names and forms of the tensors."""

    @abstractmethod
    def tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """Returns the tokenizer of a folder."""

    def size(self, checkpoint: Checkpoint) -> int:
        """Returns the rows of the embedding."""
        return (checkpoint.config or {}).get("vocab_size", self.vocab_size)

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        return self.model(checkpoint.config or {}, tokenizer=self.tokenizer(checkpoint))

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json of a model with another vocabulary, and the file that has its tokens."""
        assert isinstance(model, TextModel)
        if self.tokenizer(checkpoint).vocabulary == model.vocabulary:
            return {}
        values = {"vocab_size": (len(model.tokenizer), self.vocab_size)}
        return {
            "config.json": with_changes(checkpoint.config, values),
            **written_tokenizer(checkpoint, model.tokenizer),
        }

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; what is shared stands in a file once."""
        tied = {self.head: self.embedding} if getattr(model, "tied", False) else {}
        return Table(self.rules(model), prefix=self.prefix, tied=tied)


class DecoderAdapter(TextAdapter):
    """Reads one kind of decoder.

    Attributes:
        start: Number of the token in front of a text where config.json does not say it.
        end: Number of that behind it.
    """

    start: ClassVar[int | None] = 1
    end: ClassVar[int | None] = 2

    @abstractmethod
    def model(self, config: dict[str, Any], **options: Any) -> DecoderLanguageModel:
        """Returns the model of a configuration.

        Args:
            config: The configuration.
            **options: What all kinds have: the tokenizer.
        """

    @abstractmethod
    def rules(self, model: DecoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""

    def tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """Returns the tokenizer of a folder."""
        size = self.size(checkpoint)
        return read_tokenizer(checkpoint, size, bos_token_id=self.start, eos_token_id=self.end)


class EncoderAdapter(TextAdapter):
    """Reads one kind of encoder; a file of the model without its head for hidden tokens will do.

    What stands in front of a text and behind it is known by its name: configurations of encoders seldom say
    it.

    Attributes:
        padding: Number of the padding token where config.json does not say it.
    """

    head = "head.decoder.weight"
    embedding = "embedding.token.weight"
    may_miss: ClassVar[tuple[str, ...]] = ("head.",)
    padding: ClassVar[int | None] = None

    @abstractmethod
    def model(self, config: dict[str, Any], **options: Any) -> EncoderLanguageModel:
        """Returns the model of a configuration.

        Args:
            config: The configuration.
            **options: What all kinds have: the tokenizer.
        """

    def tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """Returns the tokenizer of a folder."""
        size = self.size(checkpoint)
        return read_tokenizer(checkpoint, size, framed=True, pad_token_id=self.padding)


def normed(ours: str, theirs: str) -> list[Rule]:
    """Returns the rules of a norm, which very old files and ESM's call gamma and beta."""
    return [
        rename(f"{ours}.weight", f"{theirs}.weight", f"{theirs}.gamma"),
        rename(f"{ours}.bias", f"{theirs}.bias", f"{theirs}.beta"),
    ]


def rotation(config: dict[str, Any], share: float = 1.0) -> tuple[float, float]:
    """Returns the base of the rotations and the share of the channels that turn.

    Args:
        config: The configuration, of 4.x or 5.x.
        share: What the published class takes.

    Raises:
        UserError: If the rotations are scaled.
    """
    given = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = given.get("rope_type", given.get("type", "default"))
    if kind != "default":
        raise UserError(f"rotations scaled as {kind!r} are not supported; only unscaled ones are")
    theta = given.get(
        "rope_theta", config.get("rope_theta", config.get("rotary_emb_base", 10000.0))
    )
    part = given.get("partial_rotary_factor", config.get("rotary_pct", share))
    return float(theta), float(part)
