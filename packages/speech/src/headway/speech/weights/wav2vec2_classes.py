"""Reading classifiers of recordings over wav2vec 2.0, HuBERT and WavLM of Hugging Face transformers."""

from typing import Any, ClassVar

from torch import nn

from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.noted_config import with_changes
from headway.core.weights.table import Table, rename
from headway.speech.models.speech_classifier import SpeechClassifier
from headway.speech.weights.processors import read_waveform
from headway.speech.weights.wav2vec2 import build_encoder, encoder_rules
from headway.speech.weights.waveforms import HARMLESS


class Wav2Vec2Classes:
    """Recognises one ``model_type`` with a head for classes.

    Args:
        name: Of the format.
        model_type: As config.json says it.
        published: Name of the published class.
    """

    # Of the published configurations, for what is not read here.
    defaults: ClassVar[dict[str, Any]] = {
        "feat_extract_activation": "gelu",
        "add_adapter": False,
        "conv_pos_batch_norm": False,
    }
    # The head has no tokens.
    harmless = (*HARMLESS, "final_dropout", "pad_token_id", "vocab_size")
    may_miss = ()

    def __init__(self, name: str, model_type: str, published: str) -> None:
        self.name, self.model_type = name, model_type
        self.architectures = (published,)

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json is that of the model with such a head."""
        config = checkpoint.config or {}
        named = config.get("architectures") or []
        return config.get("model_type") == self.model_type and self.architectures[0] in named

    def build(self, checkpoint: Checkpoint, overrides: dict[str, Any]) -> nn.Module:
        """Builds the model that config.json describes."""
        config = checkpoint.config or {}
        return SpeechClassifier(
            encoder=build_encoder(config),
            classes=_classes(checkpoint),
            front_end=read_waveform(checkpoint),
            dim=config.get("classifier_proj_size", 256),
            every_layer=config.get("use_weighted_layer_sum", False),
        )

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns config.json of a model with other classes."""
        assert isinstance(model, SpeechClassifier)
        config = with_changes(checkpoint.config, {})
        if model.classes != _classes(checkpoint):
            config["id2label"] = {str(n): name for n, name in enumerate(model.classes)}
            config["label2id"] = {name: n for n, name in enumerate(model.classes)}
        return {"config.json": config}

    def table(self, checkpoint: Checkpoint, model: nn.Module) -> Table:
        """Returns the names."""
        assert isinstance(model, SpeechClassifier)
        rules, tied = encoder_rules(self.model_type, model.encoder)
        return Table(
            rules,
            rename("weights", "layer_weights"),
            rename("projection.*", "projector.*"),
            rename("classifier.*", "classifier.*"),
            tied=tied,
        )


def _classes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Returns the names of the classes: numbers, where a file has none or some twice."""
    weight = checkpoint.state.get("classifier.weight")
    numbers = [str(number) for number in range(0 if weight is None else len(weight))]
    names = (checkpoint.config or {}).get("id2label") or {}
    known = tuple(names.get(number, number) for number in numbers)
    return known if len(set(known)) == len(known) else tuple(numbers)


adapter = (
    Wav2Vec2Classes(
        "Hugging Face Wav2Vec2 classes", "wav2vec2", "Wav2Vec2ForSequenceClassification"
    ),
    Wav2Vec2Classes("Hugging Face HuBERT classes", "hubert", "HubertForSequenceClassification"),
    Wav2Vec2Classes("Hugging Face WavLM classes", "wavlm", "WavLMForSequenceClassification"),
)
