"""What the tests of all domains ask of whole models: that copies are the model, and that graphs are free."""

import copy
import inspect
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headway.core.module import Module
from headway.core.private_torch import pytree
from headway.core.weights import from_pretrained, save_pretrained


@dataclass(frozen=True, kw_only=True)
class Case:
    """A small model and what it is given.

    Args:
        make: Builds the model.
        inputs: Draws what it is called with, ``(batch, size)``; ``size`` is that of the axis which a graph
            leaves free beside the batch (time, series), if there is one.
        sizes: A size, and others that a graph made with the first must take; one if there is no such axis.
        least: Of the sizes that a graph takes.
        narrow: Whether the model answers nearly the same in bfloat16.
    """

    make: Callable[[], nn.Module]
    inputs: Callable[[int, int], tuple[Any, ...]]
    sizes: tuple[int, ...] = (0,)
    least: int = 2
    narrow: bool = True

    def model(self) -> nn.Module:
        """Returns the model, with no parameter or statistic at its initial value."""
        torch.manual_seed(0)
        model = self.make()
        with torch.no_grad():
            for tensor in (*model.parameters(), *(x for _, x in saved_buffers(model))):
                if tensor.is_floating_point():
                    tensor.add_(0.1 * torch.rand_like(tensor))
        return model.eval()


def saved_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Returns the buffers that a checkpoint holds."""
    names = model.state_dict().keys()
    return [(name, buffer) for name, buffer in model.named_buffers() if name in names]


def ask(model: Any, given: tuple[Any, ...]) -> list[Tensor]:
    """Returns the tensors of a model's answer."""
    with torch.no_grad():
        answer = model(*given)
    # Answers that are no named tuples keep their tensors as attributes.
    leaves = [leaf for leaf in pytree.tree_leaves(answer) if isinstance(leaf, Tensor)]
    return leaves or pytree.tree_leaves(vars(answer))


def assert_equal(found: list[Tensor], wanted: list[Tensor], what: str) -> None:
    """Asserts that two answers are one, bit by bit."""
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other), what


def assert_constants(model: nn.Module) -> None:
    """Asserts that each buffer that no checkpoint holds is a constant, which the meta device cannot lose."""
    for name, module in model.named_modules():
        lost = module._non_persistent_buffers_set - {
            key for key in module._buffers if module._buffers[key] is None
        }
        known = module._made_constants() if isinstance(module, Module) else {}
        assert lost <= known.keys(), f"{name} ({type(module).__name__}): {lost - known.keys()}"


def check_copies(case: Case, folder: Path) -> None:
    """Asserts that whatever way a model is copied, moved or saved, the copy answers the same.

    By the meta device (emptied, with NaN where nothing was loaded; and with the tensors put in place), a
    folder, ``deepcopy`` and pickle. An empty batch has an empty answer, and bfloat16 nearly the same.
    """
    model, given = case.model(), case.inputs(3, case.sizes[0])
    wanted = ask(model, given)
    assert_constants(model)
    for assign in (False, True):
        with torch.device("meta"):
            other = case.make()
        if not assign:
            other.to_empty(device="cpu")
            with torch.no_grad():
                for tensor in other.state_dict().values():
                    tensor.fill_(torch.nan if tensor.is_floating_point() else 99)
        other.load_state_dict(model.state_dict(), assign=assign)
        assert_equal(ask(other.eval(), given), wanted, f"meta device, assign={assign}")
    save_pretrained(model, folder)
    assert_equal(ask(from_pretrained(folder).eval(), given), wanted, "folder")
    assert_equal(ask(copy.deepcopy(model), given), wanted, "deepcopy")
    assert_equal(ask(pickle.loads(pickle.dumps(model)), given), wanted, "pickle")
    for empty, answer in zip(ask(model, case.inputs(0, case.sizes[0])), wanted, strict=True):
        assert empty.shape == (0, *answer.shape[1:])
    if not case.narrow:
        return
    halved = pytree.tree_map(narrowed, given)
    for found, answer in zip(ask(copy.deepcopy(model).bfloat16(), halved), wanted, strict=True):
        difference = (found.float() - answer.float()).abs().max()
        assert difference <= 0.1 * answer.float().abs().max().clamp_min(1e-6)


def narrowed(given: Any) -> Any:
    """Returns a tensor of numbers in bfloat16, anything else as it is."""
    numbers = isinstance(given, Tensor) and given.is_floating_point()
    return given.bfloat16() if numbers else given


def dimensions(case: Case, model: nn.Module) -> tuple[Any, ...]:
    """Returns the named dimensions of what a model is given: those that go by the batch and by the size."""
    batch, size = torch.export.Dim("batch"), torch.export.Dim("size", min=case.least, max=4096)
    first = case.sizes[0]
    other = case.sizes[1] if len(case.sizes) > 1 else first

    def named(one: Any, more: Any, larger: Any) -> dict[int, Any] | None:
        if one is None:
            return None
        found = {}
        for axis, sides in enumerate(zip(one.shape, more.shape, larger.shape, strict=True)):
            if sides[0] != sides[1]:
                found[axis] = batch
            elif sides[0] != sides[2]:
                found[axis] = size
        return found

    found = pytree.tree_map(
        named, *(case.inputs(*ways) for ways in ((3, first), (2, first), (3, other)))
    )
    # What a model takes as ``*inputs`` is one argument to a graph.
    kinds = [one.kind for one in inspect.signature(model.forward).parameters.values()]
    return (found,) if kinds == [inspect.Parameter.VAR_POSITIONAL] else found


def check_graph(case: Case, file: Path) -> None:
    """Asserts that a graph that ``torch.export`` made, saved and loaded answers as the model for any size."""
    model = case.model()
    given = case.inputs(3, case.sizes[0])
    with torch.no_grad():
        program = torch.export.export(model, given, dynamic_shapes=dimensions(case, model))
    torch.export.save(program, file)
    loaded = torch.export.load(file).module()
    for batch, size in ((1, case.sizes[0]), *((2, size) for size in case.sizes)):
        given = case.inputs(batch, size)
        for found, wanted in zip(ask(loaded, given), ask(model, given), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
