"""Putting tensors into a model, with an account of every key."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from headway.core.changes import EFFECTS, changed_parameters
from headway.core.errors import UserError
from headway.core.finite import non_finite
from headway.core.module import with_new_names


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What became of every parameter of the model and of every tensor of the checkpoint.

    Args:
        source: Where the tensors came from.
        loaded: Parameters that took a tensor as it was.
        missing: Parameters that the checkpoint does not hold; they keep their initial values.
        unexpected: Tensors that the model has no place for.
        resized: Parameters that were resized after loading, such as position embeddings.
        extended: Parameters that were kept in part, such as the embedding of a vocabulary that grew.
        reinitialised: Parameters that were replaced after loading, such as a classifier.
    """

    source: str
    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    extended: tuple[str, ...] = ()
    reinitialised: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} loaded"]
        for name in ("missing", "unexpected", *EFFECTS):
            keys = getattr(self, name)
            if keys:
                shown = ", ".join(keys[:4]) + (", ..." if len(keys) > 4 else "")
                parts.append(f"{len(keys)} {name} ({shown})")
        return f"{self.source}: {'; '.join(parts)}"

    def after_changes(self, model: nn.Module) -> "LoadReport":
        """Returns the account after the methods of a model changed some of its parameters."""
        changed = {effect: changed_parameters(model, effect) for effect in EFFECTS}
        gone = set().union(*changed.values())
        return replace(
            self,
            loaded=tuple(name for name in self.loaded if name not in gone),
            **{effect: tuple(sorted(names)) for effect, names in changed.items()},
        )


def load_weights(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    source: str,
    may_miss: Collection[str] = (),
) -> LoadReport:
    """Loads tensors under our names into a model.

    Args:
        model: The model.
        state: Tensors by name.
        source: Named in messages.
        may_miss: Prefixes of parameters that the checkpoint need not hold.

    Raises:
        UserError: If a tensor has another shape, or parameters are missing or left over: it is then a
            checkpoint of another model; or if a tensor holds nan or infinity. Nothing is loaded.
    """
    own, state = model.state_dict(), with_new_names(model, state)
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{source} does not fit the model: {name} is {tuple(state[name].shape)} there and "
            f"{tuple(own[name].shape)} here ({len(wrong)} such of {len(own)}); "
            "is it a checkpoint of another model or size?"
        )
    missing = [name for name in own if name not in state]
    beside = [
        f"{name}."
        for name, part in model.named_modules()
        if getattr(part, "optional_weights", False)
    ]
    allowed = (*may_miss, *beside) or ("\0",)
    lost = [name for name in missing if not name.startswith(allowed)]
    if lost:
        raise UserError(
            f"{source} is a checkpoint of another model: it lacks {len(lost)} of {len(own)} "
            f"parameters, such as {lost[0]}"
        )
    unexpected = [name for name in state if name not in own]
    if unexpected:
        shown = ", ".join(unexpected[:3]) + (", ..." if len(unexpected) > 3 else "")
        raise UserError(
            f"{source} holds {len(unexpected)} tensors that {type(model).__name__} as it was configured has "
            f"no place for ({shown}); it belongs to another architecture, and without them the answers "
            "would be wrong"
        )
    loaded = [name for name in own if name in state]
    broken = next(non_finite({name: state[name] for name in loaded}), None)
    if broken is not None:
        raise UserError(
            f"{source} is broken: {broken} holds nan or infinity; use an earlier checkpoint of that run"
        )
    with torch.no_grad():
        for name in loaded:
            own[name].copy_(state[name])
    return LoadReport(
        source=source,
        loaded=tuple(loaded),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
    )
