"""A published config.json: which of its keys were read, and whether they hold what they should."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from headway.core.errors import InputError, UserError, one_line
from headway.core.kinds import fits
from headway.core.weights.preprocessing import KINDS

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
        source: The file, for messages.
    """

    def __init__(self, values: Mapping[str, Any], source: str = "config.json") -> None:
        super().__init__(values)
        self.source = source
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        if key not in self:
            raise InputError(self.source, f"lacks {key}, which such a model needs")
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a value, and notes that it was asked for.

        Args:
            key: The key.
            default: What the published class takes where the file has no such key. What the file has must be
                of its kind: a whole number (or a list of some), any number, a text, a list, a mapping.

        Raises:
            InputError: If the value is of another kind; null is of any.
        """
        self.read.add(key)
        value = super().get(key, default)
        if value is None or default is None or _is_like(value, default):
            return value
        kind = next(kind for kind in (bool, *KINDS) if isinstance(default, kind))
        raise InputError(self.source, f"has {key} = {value!r:.80}, expected {KINDS[kind]}")

    def odd(self) -> str:
        """Returns the read keys that hold what few models do, for messages about a model that fails."""
        odd = {
            key: self.get(key)
            for key in sorted(self.read & self.keys())
            if not isinstance(self.get(key), bool | str | float) and not _is_positive(self.get(key))
        }
        return ", ".join(f"{key} = {value!r:.40}" for key, value in list(odd.items())[:6])

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


@contextmanager
def reading_config(source: str, name: str, config: NotedConfig | None) -> Iterator[None]:
    """Names file and keys in what goes wrong while a model is made of a published checkpoint.

    Constructors check values; of wrong types and sizes Python and torch complain in their own words.

    Args:
        source: Of the checkpoint.
        name: Of the adapter.
        config: The configuration.

    Raises:
        UserError: If the block raises anything.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)[:200]}"
        odd = config.odd() if config is not None else ""
        hint = f"; its config.json says {odd}" if odd else ""
        raise UserError(
            f"{source} makes no model of {name} ({reason}){hint}; it is damaged or of another version"
        ) from error


def with_changes(
    config: Mapping[str, Any] | None, values: Mapping[str, tuple[Any, Any]]
) -> dict[str, Any]:
    """Returns a config.json that says what a changed model is; keys that say so already stay as they are.

    Args:
        config: That of the published checkpoint.
        values: By key what the model has, and what the published class takes where the file says nothing.
    """
    changed = dict(config or {})
    for key, (value, usual) in values.items():
        if changed.get(key, usual) != value:
            changed[key] = value
    return changed


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of a default."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, int):
        values = value if isinstance(value, list | tuple) else [value]
        return all(fits(one, int) for one in values)
    if isinstance(default, float):
        return fits(value, float)
    if isinstance(default, list | tuple):
        items = isinstance(value, list | tuple)
        return items and all(_is_like(one, default[0]) for one in value if default)
    return isinstance(value, type(default))


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
