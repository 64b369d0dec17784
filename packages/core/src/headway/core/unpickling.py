"""Pickles of arrays, opened without importing or running what they name."""

import codecs
import pickle
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

# What arrays of numpy consist of, by the names of both spellings that numpy has had.
_PARTS = {
    "multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": np.arange(2).__reduce_ex__(5)[0],
}
ARRAYS: dict[tuple[str, str], Any] = {
    **{
        (f"{root}.{name.split('.')[0]}", name.split(".")[1]): part
        for root in ("numpy.core", "numpy._core")
        for name, part in _PARTS.items()
    },
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,
}


class ArraysOnly(pickle.Unpickler):
    """Makes arrays of numpy, and what Python is built of, of a pickle; nothing that could run code.

    Args:
        file: The pickle.
        also: What else it may name, by module and name, and what that stands for.
        **options: As of ``pickle.Unpickler``: encoding ...

    Raises:
        pickle.UnpicklingError: If the pickle names anything else, when it is loaded.
    """

    def __init__(
        self, file: IO[bytes], *, also: Mapping[tuple[str, str], Any] | None = None, **options: Any
    ) -> None:
        super().__init__(file, **options)
        self.allowed = {**ARRAYS, **(also or {})}

    def find_class(self, module: str, name: str) -> Any:
        """Returns what a name stands for, if it is known here."""
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, which is never imported; write arrays alone"
            )
        return self.allowed[module, name]
