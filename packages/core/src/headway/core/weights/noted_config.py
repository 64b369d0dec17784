"""A published config.json that notes which of its keys were read, so that none is left out in silence."""

from collections.abc import Collection, Mapping
from typing import Any

from headway.core.errors import UserError

# Keys that change no answer of a model: names, bookkeeping, memory, and what starts or drives training
# and generation.
BOOKKEEPING = frozenset(
    [
        "_attn_implementation",
        "_attn_implementation_autoset",
        "_commit_hash",
        "_name_or_path",
        "architectures",
        "attn_implementation",
        "bad_words_ids",
        "begin_suppress_tokens",
        "chunk_size_feed_forward",
        "decoder_start_token_id",
        "diversity_penalty",
        "do_sample",
        "dtype",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "finetuning_task",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "gradient_checkpointing",
        "id2label",
        "initializer_factor",
        "initializer_range",
        "keys_to_ignore_at_inference",
        "label2id",
        "length_penalty",
        "license",
        "max_length",
        "min_length",
        "model_type",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "prefix",
        "problem_type",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict",
        "return_dict_in_generate",
        "sep_token_id",
        "suppress_tokens",
        "task_specific_params",
        "temperature",
        "tf_legacy_loss",
        "tokenizer_class",
        "top_k",
        "top_p",
        "torch_dtype",
        "transformers_version",
        "typical_p",
        "use_bfloat16",
        "use_cache",
    ]
)
# What an unknown key may hold without meaning anything: "not used".
_NOTHING = (None, False, "", [], {}, ())


class NotedConfig(dict[str, Any]):
    """A configuration; ``read`` has the keys that somebody has asked for.

    Args:
        values: The contents of the file.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a value, and notes that it was asked for."""
        self.read.add(key)
        return super().get(key, default)

    def refuse_unread(
        self, source: str, *, defaults: Mapping[str, Any], harmless: Collection[str] = ()
    ) -> None:
        """Raises if a key that nobody has read says something else than its default.

        Args:
            source: Named in the message.
            defaults: What the published class takes for a key that a file leaves out.
            harmless: Further keys that change no answer.

        Raises:
            UserError: It names the key, its value and the default.
        """
        for key, value in self.items():
            if key in self.read or key in BOOKKEEPING or key in harmless:
                continue
            usual = defaults.get(key)
            if _same(value, usual) or (key not in defaults and value in _NOTHING):
                continue
            known = f"only {key}={usual!r} is" if key in defaults else "nothing is known about it"
            raise UserError(
                f"{source}: config.json says {key}={value!r}, which is not read ({known}); the answers "
                "would be wrong"
            )


def _same(value: Any, usual: Any) -> bool:
    if isinstance(value, list | tuple) and isinstance(usual, list | tuple):
        return len(value) == len(usual) and all(map(_same, value, usual))
    if isinstance(value, bool) or isinstance(usual, bool):
        return value is usual
    return value == usual


def refuse_other_architecture(
    config: Mapping[str, Any] | None, source: str, *, name: str, known: Collection[str]
) -> None:
    """Raises if a config.json names a class that an adapter does not read.

    ``model_type`` says little: others call their models the same.

    Args:
        config: The configuration.
        source: Named in the message.
        name: Of the adapter.
        known: Names of the published classes that it reads; empty for any.

    Raises:
        UserError: It names the class.
    """
    given = (config or {}).get("architectures")
    if not known or not isinstance(given, list) or not given:
        return
    if not any(architecture in known for architecture in given):
        raise UserError(
            f"{source} is a {given[0]}, which shares its model_type with what {name} reads; read are "
            f"{', '.join(known)}"
        )
