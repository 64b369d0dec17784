"""What a file may ask for, measured by what it holds; checked before anything is built or unpacked."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headway.core.errors import InputError, UserError, one_line

LEAST_NUMBER = 10**7
"""Whole numbers up to here are fine for any model: lengths, rates, seeds."""

LEAST_DEPTH = 64
"""Blocks that any model may have: some hold no tensors."""

RATIO, SLACK = 20, 64 * 2**20
"""A zip may unpack to so many times its size, and so many bytes more."""

DEPTHS = (
    "depth",
    "depths",
    "num_layers",
    "layers",
    "num_blocks",
    "num_hidden_layers",
    "encoder_layers",
    "decoder_layers",
    "n_layer",
)
SIZES = ("size", "dim", "d_model", "labels", "heads")
MAX_NESTING = 50


def check_arguments(
    arguments: Any, state: Mapping[str, Tensor], source: str, *, published: bool = False
) -> None:
    """Compares the numbers of a configuration with the tensors that belong to it.

    Args:
        arguments: Arguments of a model, nested as they are in config.json.
        state: The tensors by name.
        source: Named in messages.
        published: Whether the configuration also holds what is no size of the model, such as lengths of
            texts; only keys that are named like sizes are then compared.

    Raises:
        UserError: If there are more blocks than tensors, or a whole number is larger than the number of
            stored values: such a model could not be of these tensors, and building it would take all
            memory. Of a published file also if what is named like a size is no whole number.
    """
    if published:
        _check_sizes(arguments, source)
    values = max(LEAST_NUMBER, sum(tensor.numel() for tensor in state.values()))
    blocks = max(LEAST_DEPTH, len(state))
    for name, value in _numbers(arguments, "", source, 0):
        if name in DEPTHS:
            limit = blocks
        elif isinstance(value, int) and (not published or name.endswith(SIZES)):
            limit = values
        else:
            continue
        if abs(value) > limit:
            raise UserError(
                f"{source}: {name} = {float(min(value, 1e300)):g} is more than its tensors can be for "
                f"(at most {limit:,}); config.json is damaged or belongs to other weights"
            )


def _check_sizes(config: Mapping[str, Any], source: str) -> None:
    """Refuses texts, fractions and negative numbers where a size or a number of blocks stands."""
    for name, value in config.items():
        if not name.endswith(SIZES) and name not in DEPTHS:
            continue
        flat = value if isinstance(value, list) else [value]
        # One more level, for pairs such as (block, head).
        flat = [leaf for one in flat for leaf in (one if isinstance(one, list) else [one])]
        for one in flat:
            whole = isinstance(one, int) and one >= 0
            if not (whole or one is None or isinstance(one, Mapping)):
                raise UserError(
                    f"{source}: config.json has {name} = {value!r:.80}, expected a whole number"
                )


def _numbers(value: Any, name: str, source: str, level: int) -> Iterator[tuple[str, int | float]]:
    if level > MAX_NESTING:
        raise UserError(f"{source}: the configuration is nested too deeply")
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, str(key), source, level + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item, name, source, level + 1)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


class _NoDraws(TorchFunctionMode):
    """Leaves out random starts: of tensors without memory they mean nothing, and load half of torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def check_elements(make: Callable[[], nn.Module], state: Mapping[str, Tensor], source: str) -> None:
    """Builds a model without memory and compares the number of its values with the stored ones.

    Args:
        make: Builds the model.
        state: The tensors by name.
        source: Named in messages.

    Raises:
        UserError: If the model is far larger than what is stored.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _NoDraws():
        try:
            model = make()
        except Exception:  # building it in earnest says why
            return
    needed = sum(tensor.numel() for tensor in model.state_dict().values())
    stored = sum(tensor.numel() for tensor in state.values())
    if needed > LEAST_NUMBER + 4 * stored:
        raise UserError(
            f"{source}: its config.json is for a model of {needed:,} values, its tensors have {stored:,}; "
            "they do not belong together"
        )


def check_zip(path: Path) -> None:
    """Refuses a file of torch.save that unpacks to far more than it is.

    Raises:
        InputError: If it does.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(str(path), f"is damaged ({one_line(error)})") from None
    size = path.stat().st_size
    if unpacked > RATIO * size + SLACK:
        raise InputError(
            str(path), f"has {size:,} bytes and would unpack to {unpacked:,}; it is not opened"
        )
