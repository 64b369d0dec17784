"""Reading and writing SAFE-GPT as safe-mol saves it: GPT-2 with a head of properties, and its tokenizer."""

import json
from typing import Any, ClassVar

from torch import nn

from headway.core.errors import UserError
from headway.core.language import DecoderLanguageModel, SubwordTokenizer, Tokenizer
from headway.core.reading import read_json
from headway.core.weights.checkpoint import Checkpoint
from headway.core.weights.language.common import DEFAULTS
from headway.core.weights.language.gpt2 import ATTENTION, RULES, HuggingFaceGPT2, activation, parts
from headway.core.weights.language.tokenizers import read_tokenizer
from headway.core.weights.table import Rule, rename
from headway.molecules.models import SafeGPT
from headway.molecules.notation import SafePieceTokenizer
from headway.molecules.notation.safe import PIECES

# What safe-mol writes into tokenizer.json beside what the tokenizers library knows.
_THEIR_OWN = ("custom_pre_tokenizer", "tokenizer_type", "tokenizer_attrs")
_HEAD = [
    rename("summary.*", "multiple_choice_head.summary.*"),
    rename("predictor.*", "multiple_choice_head.out.*"),
]


class SafeMolGPT(HuggingFaceGPT2):
    """Recognises the class ``SAFEDoubleHeadsModel`` in config.json.

    The file of the tokenizer says that a function of safe-mol cuts texts first; the pattern of that function
    stands in its place here, and nothing that a file names is run.
    """

    name = "SAFE-GPT of its authors"
    architectures = ("SAFEDoubleHeadsModel",)
    defaults: ClassVar[dict[str, Any]] = {**DEFAULTS, **ATTENTION}
    harmless = ("summary_use_proj", "summary_proj_to_labels", "summary_first_dropout", "n_ctx")
    may_miss: ClassVar[tuple[str, ...]] = ("summary.", "predictor.")

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Whether config.json names the class."""
        config = checkpoint.config
        named = None if config is None else config.get("architectures")
        return isinstance(named, list) and self.architectures[0] in named

    def model(self, config: dict[str, Any], **options: Any) -> DecoderLanguageModel:
        """Returns the model of a configuration.

        Raises:
            UserError: If the properties are not said off the last token.
        """
        if (kind := config.get("summary_type", "cls_index")) not in ("cls_index", "last"):
            raise UserError(
                f"summary_type is {kind!r}; properties are said off the last token (cls_index, last)"
            )
        named = config.get("summary_activation")
        labels = config.get("id2label")
        count = config.get("num_labels", 2 if labels is None else len(labels))
        return SafeGPT(
            properties=count or 0,
            summary_dim=config.get("summary_hidden_size") or None,
            summary_activation=activation(named) if named else None,
            **parts(config),
            **options,
        )

    def rules(self, model: DecoderLanguageModel) -> list[Rule]:
        """Returns names and forms of the tensors."""
        return [*RULES, *_HEAD]

    def tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """Returns the tokenizer of a folder; start and end are known by their names."""
        found = read_tokenizer(checkpoint, self.size(checkpoint), framed=True)
        if not isinstance(found, SubwordTokenizer):
            return found
        content = json.loads(found.definition)
        custom = content.get("custom_pre_tokenizer")
        content = {key: value for key, value in content.items() if key not in _THEIR_OWN}
        if custom:
            content["pre_tokenizer"] = {
                "type": "Split",
                "pattern": {"Regex": PIECES},
                "behavior": "Isolated",
                "invert": False,
            }
        return SafePieceTokenizer(**{**found.init_args, "definition": json.dumps(content)})

    def files(self, checkpoint: Checkpoint, model: nn.Module) -> dict[str, dict[str, Any]]:
        """Returns what a model with further tokens needs, as safe-mol writes it."""
        found = super().files(checkpoint, model)
        file = checkpoint.folder / "tokenizer.json"
        if "tokenizer.json" in found and file.is_file():
            before = read_json(file)
            kept = {key: before[key] for key in (*_THEIR_OWN, "pre_tokenizer") if key in before}
            found["tokenizer.json"] |= kept
        return found


adapter = SafeMolGPT()
