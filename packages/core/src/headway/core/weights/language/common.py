"""What the adapters of decoder language models have in common."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.tokenizers import read_tokenizer, written_tokenizer
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Rule, Table

# Of every configuration of transformers' decoders.
DEFAULTS: dict[str, Any] = {
    "is_encoder_decoder": False,
    "is_decoder": False,
    "add_cross_attention": False,
}


class DecoderAdapter(ABC):
    """Reads one kind of decoder; a subclass says what a configuration means and how tensors are called.

    Attributes:
        model_type: In config.json.
        prefix: In front of the names of the base model in files of a model with a head.
    """

    name: ClassVar[str]
    model_type: ClassVar[str]
    prefix: ClassVar[str]
    architectures: ClassVar[tuple[str, ...]]
    defaults: ClassVar[dict[str, Any]]
    # Of the published class.
    vocab_size: ClassVar[int] = 32000
    start: ClassVar[int | None] = 1
    end: ClassVar[int | None] = 2

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of such a model."""
        config = checkpoint.config
        return config is not None and config.get("model_type") == self.model_type

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

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        tokenizer = read_tokenizer(
            checkpoint,
            config.get("vocab_size", self.vocab_size),
            bos_token_id=self.start,
            eos_token_id=self.end,
        )
        return self.model(config, tokenizer=tokenizer)

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json of a model with another vocabulary, and the file that has its tokens."""
        assert isinstance(model, DecoderLanguageModel)
        config = checkpoint.config or {}
        before = read_tokenizer(checkpoint, config.get("vocab_size", self.vocab_size))
        if before.vocabulary == model.vocabulary:
            return {}
        values = {"vocab_size": (len(model.tokenizer), self.vocab_size)}
        return {
            "config.json": with_changes(config, values),
            **written_tokenizer(checkpoint, model.tokenizer),
        }

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names; what is shared stands in a file once."""
        assert isinstance(model, DecoderLanguageModel)
        tied = {"head.weight": "embedding.weight"} if model.tied else {}
        return Table(self.rules(model), prefix=self.prefix, tied=tied)


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
