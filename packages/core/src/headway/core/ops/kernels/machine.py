"""On which machines the kernels run."""

import contextlib
import importlib.util

import torch
from torch import Tensor

from headway.core.ops.kernels import interpreted

# The architecture of the interpreter, which has no compute capability.
INTERPRETER = 0


def reason_against(device: torch.device) -> str | None:
    """Why Triton kernels cannot run on a device, with the remedy, or None if they can."""
    if not _INSTALLED:
        return "triton is not installed; pip install triton, or use backend='auto'"
    if device.type == "cuda":
        if torch.version.hip is not None:
            return "triton: no tiles for ROCm were tried on a device yet; use backend='auto'"
        major, minor = torch.cuda.get_device_capability(device)
        if major < 8:
            return (
                f"triton: needs compute capability 8.0, got {major}.{minor} (Triton makes no tensor-core "
                "instructions for it); use backend='auto'"
            )
        return None
    if device.type == "cpu" and interpreted():
        return None
    return f"triton needs a CUDA device, got {device}; use backend='auto'"


def architecture(tensor: Tensor) -> int:
    """Compute capability times ten of the tensor's device; `INTERPRETER` for interpreted kernels."""
    if interpreted():
        return INTERPRETER
    major, minor = torch.cuda.get_device_capability(tensor.device)
    return 10 * major + minor


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Within it, kernels are launched on the tensor's device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _installed() -> bool:
    try:
        return importlib.util.find_spec("triton") is not None
    except (ImportError, ValueError):
        return False


_INSTALLED = _installed()
