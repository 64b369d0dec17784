"""What headway uses of PyTorch beyond its public names, all in one place; no other file does.

Tested with PyTorch 2.10.0 (see constraints-min.txt) and 2.14.1. A release that changes one of these names is
mended here.
"""

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = [
    "FakeTensor",
    "TorchDispatchMode",
    "chosen_sdp_backend",
    "flash_for_cpu",
    "flash_for_cpu_backward",
    "has_dispatch_mode",
    "in_transform",
    "is_recorded",
    "mark_constant",
    "only_vmaps",
    "pytree",
    "register_named_tuple",
]

flash_for_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
flash_for_cpu_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def in_transform() -> bool:
    """Whether a transform of ``torch.func`` is at work (vmap, grad, jvp ...)."""
    return torch._C._are_functorch_transforms_active()


def only_vmaps() -> bool:
    """Whether all transforms of ``torch.func`` at work are vmap."""
    functorch: Any = torch._C._functorch  # pyright: ignore[reportAttributeAccessIssue]
    stack = functorch.get_interpreter_stack() or ()
    return all(level.key() == functorch.TransformType.Vmap for level in stack)


def is_recorded() -> bool:
    """Whether ``torch.jit.trace`` writes down what is called."""
    return torch._C._get_tracing_state() is not None


def has_dispatch_mode() -> bool:
    """Whether something looks at every operation, such as a counter or fake tensors."""
    return torch._C._len_torch_dispatch_stack() > 0


def chosen_sdp_backend(*inputs: Any, **options: Any) -> int:
    """The number of the backend that scaled_dot_product_attention would take with these arguments."""
    return torch._fused_sdp_choice(*inputs, **options)  # pyright: ignore[reportPrivateImportUsage]


def mark_constant(function: Any) -> None:
    """As ``torch.compiler.assume_constant_result``, which loads the whole compiler to set this mark."""
    function._dynamo_marked_constant = True


def register_named_tuple(cls: type) -> None:
    """Names a named tuple in files of exported graphs; the public function is for dataclasses alone."""
    pytree._register_namedtuple(cls, serialized_type_name=f"{cls.__module__}.{cls.__qualname__}")
