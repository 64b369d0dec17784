"""Tensors of CTranslate2: ``model.bin``, a plain list of names, shapes and values."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from headway.core.errors import InputError, UserError

VERSION = 6
"""Of the layout that is read: earlier converters wrote others."""

# By the number of the type in the file.
_TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)
_SCALE = "_scale"


@dataclass(frozen=True)
class Packed:
    """A file of CTranslate2.

    Args:
        spec: The kind of model, such as ``WhisperSpec``.
        revision: Of that kind.
        tensors: By name; whole numbers that stand for weights are multiplied out.
        aliases: Further names of tensors.
    """

    spec: str
    revision: int
    tensors: dict[str, Tensor]
    aliases: dict[str, str]


def is_ctranslate2(path: Path) -> bool:
    """Whether a file begins as one of CTranslate2: a small number, and the name of a kind of model."""
    with open(path, "rb") as file:
        head = file.read(72)
    if len(head) < 8:
        return False
    version, size = struct.unpack_from("<IH", head)
    name = head[6 : 6 + size]
    return 0 < version < 100 and 5 < size <= 64 and name.endswith(b"Spec\0") and name[:-1].isalnum()


def read_ctranslate2(path: Path) -> Packed:
    """Reads a file; every size in it is compared with what there is before memory is taken.

    Raises:
        UserError: If it is of another version.
        InputError: If it is damaged.
    """
    reader = _Reader(path)
    version = reader.number("<I")
    if version != VERSION:
        raise UserError(
            f"{path} is of version {version} of CTranslate2's format, read is {VERSION}; convert the model "
            "anew with ctranslate2 4"
        )
    spec, revision, count = reader.text(), reader.number("<I"), reader.number("<I")
    found: dict[str, Tensor] = {}
    for _ in range(count):
        name = reader.text()
        found[name] = reader.tensor(name)
    aliases = {}
    for _ in range(reader.number("<I")):
        name, other = reader.text(), reader.text()
        if other not in found:
            raise InputError(str(path), f"is damaged: {name} stands for {other}, which it lacks")
        aliases[name] = other
    if reader.place != len(reader.data):
        raise InputError(str(path), "is damaged: there is more in it than it says")
    return Packed(spec, revision, _multiplied(found, path), aliases)


def write_ctranslate2(path: Path, tensors: Mapping[str, Tensor], *, like: Path) -> None:
    """Writes tensors, with kind and further names of another file.

    Args:
        path: The file.
        tensors: By name.
        like: What it is written like.
    """
    model = read_ctranslate2(like)
    with open(path, "wb") as file:
        file.write(struct.pack("<I", VERSION))
        _write_text(file, model.spec)
        file.write(struct.pack("<II", model.revision, len(tensors)))
        for name in sorted(tensors):
            value = tensors[name].contiguous()
            _write_text(file, name)
            size = value.numel() * value.element_size()
            shape = (value.ndim, *value.shape, _TYPES.index(value.dtype), size)
            file.write(struct.pack(f"<B{value.ndim}IBI", *shape))
            file.write(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        file.write(struct.pack("<I", len(model.aliases)))
        for pair in model.aliases.items():
            for name in pair:
                _write_text(file, name)


def _multiplied(found: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Returns the weights that whole numbers and their scales stand for."""
    for name in [name for name in found if name.endswith(_SCALE)]:
        scale, whole = found.pop(name).float(), found.get(name.removesuffix(_SCALE))
        if whole is None or whole.dtype not in (torch.int8, torch.int16):
            raise InputError(str(path), f"is damaged: {name} scales no whole numbers")
        rows = scale.numel()
        if rows not in (1, whole.shape[0] if whole.ndim else 1) or not bool((scale != 0).all()):
            raise InputError(str(path), f"is damaged: {name} does not fit what it scales")
        shape = (rows, *[1] * (whole.ndim - 1))
        found[name.removesuffix(_SCALE)] = whole.float() / scale.reshape(shape)
    lacking = [name for name, value in found.items() if value.dtype == torch.int8 and value.ndim]
    if lacking:
        raise UserError(
            f"{path} holds {lacking[0]} in a form that is not read (whole numbers without a scale); convert "
            "the model with --quantization float16, float32 or int8"
        )
    return found


def _write_text(file: IO[bytes], text: str) -> None:
    data = text.encode() + b"\0"
    file.write(struct.pack("<H", len(data)) + data)


class _Reader:
    """Takes numbers, names and tensors off a file, in order."""

    def __init__(self, path: Path) -> None:
        self.path, self.place = path, 0
        self.data = bytearray(path.read_bytes())

    def take(self, size: int) -> int:
        """Returns where the next bytes begin."""
        start = self.place
        if size > len(self.data) - start:
            raise InputError(str(self.path), "is damaged: it ends too early")
        self.place += size
        return start

    def number(self, form: str) -> int:
        """Returns the next number."""
        return struct.unpack_from(form, self.data, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        """Returns the next name."""
        size = self.number("<H")
        start = self.take(size)
        name = bytes(self.data[start : start + size]).removesuffix(b"\0")
        try:
            return name.decode("ascii")
        except UnicodeDecodeError:
            raise InputError(str(self.path), "is damaged: a name in it is no text") from None

    def tensor(self, name: str) -> Tensor:
        """Returns the next tensor."""
        axes = self.number("<B")
        start = self.take(4 * axes)
        shape = struct.unpack_from(f"<{axes}I", self.data, start)
        kind, size = self.number("<B"), self.number("<I")
        if kind >= len(_TYPES):
            raise InputError(str(self.path), f"has {name} in a type that is not known ({kind})")
        dtype = _TYPES[kind]
        wanted = dtype.itemsize
        for side in shape:
            wanted *= side
        if wanted != size:
            raise InputError(
                str(self.path), f"is damaged: {name} of shape {shape} has {size} bytes"
            )
        start = self.take(size)
        if not size:
            return torch.empty(shape, dtype=dtype)
        count = size // dtype.itemsize
        # Copied: the places of tensors in the file are no multiples of their types.
        part = torch.frombuffer(self.data, dtype=torch.uint8, count=size, offset=start).clone()
        return part.view(dtype)[:count].reshape(shape)
