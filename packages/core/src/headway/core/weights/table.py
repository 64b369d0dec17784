"""Published names and forms of tensors beside ours: one table, read in both directions."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from headway.core.errors import UserError
from headway.core.linear import FusedLinear
from headway.core.weights.templates import Fields, fill, match

Way = tuple[str, ...]
Form = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Rule:
    """Tensors of ours, and the published ones that say the same.

    ``rename``, ``join``, ``combine``, ``drop`` and ``own`` make one.

    Args:
        ours: Templates of our names; none where we have no such tensor.
        theirs: The ways in which files name them, each as templates; the first one is written.
        read: Ours of theirs; one tensor stays as it is and several are stacked if None.
        write: Theirs of ours.
    """

    ours: Way
    theirs: tuple[Way, ...]
    read: Form | None = None
    write: Form | None = None


@dataclass(frozen=True)
class Reshaped:
    """How the values of one tensor differ, both ways; vectors stay as they are."""

    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor], Tensor]


def _transposed(value: Tensor) -> Tensor:
    return value.T.contiguous() if value.ndim == 2 else value


# A linear layer that is stored with its inputs as rows (GPT-2).
TRANSPOSED = Reshaped(_transposed, _transposed)


def pointwise(axes: int) -> Reshaped:
    """Returns the form of a linear layer that is a convolution over one place there.

    Args:
        axes: Axes of the kernel: 1 for steps of time, 2 for pixels.
    """
    return Reshaped(
        lambda value: value.flatten(1) if value.ndim == 2 + axes else value,
        lambda value: value[(..., *(None,) * axes)] if value.ndim == 2 else value,
    )


def rename(ours: str, *theirs: str, form: Reshaped | None = None) -> Rule:
    """Returns the rule of a tensor with another name.

    Args:
        ours: Template of our name.
        theirs: Templates of theirs, one for each generation of files.
        form: How the values differ; not at all if None.
    """
    ways = tuple((name,) for name in theirs)
    return Rule((ours,), ways, form and form.read, form and form.write)


def join(ours: str, *theirs: Sequence[str]) -> Rule:
    """Returns the rule of a fused projection that is stored in sections, in the order of the rows.

    Args:
        ours: Template of our name.
        theirs: Templates of the sections, for each generation of files.
    """
    return Rule((ours,), tuple(map(tuple, theirs)))


def combine(ours: Sequence[str], theirs: Sequence[str], *, read: Form, write: Form) -> Rule:
    """Returns the rule of tensors that are made of others.

    Args:
        ours: Templates of our names.
        theirs: Templates of theirs.
        read: Ours of theirs: one tensor, or as many as ``ours`` has names.
        write: Theirs of ours. Where a reader sums, it gives what answers the same.
    """
    return Rule(tuple(ours), (tuple(theirs),), read, write)


def drop(*theirs: str) -> Rule:
    """Returns the rule of tensors that change no answer: masks, counters, heads of another task."""
    return Rule((), tuple((name,) for name in theirs))


def own(*ours: str) -> list[Rule]:
    """Returns the rules of tensors that such files never hold; they keep the values of the model."""
    return [Rule((name,), ()) for name in ours]


def under(ours: str, theirs: str | Sequence[str], *rules: Rule) -> list[Rule]:
    """Returns rules with something in front of all names.

    Args:
        ours: In front of ours.
        theirs: In front of theirs, for each generation of files.
        rules: The rules.
    """
    fronts = (theirs,) if isinstance(theirs, str) else theirs
    return [
        replace(
            rule,
            ours=tuple(ours + name for name in rule.ours),
            theirs=tuple(
                tuple(front + name for name in way) for way, front in product(rule.theirs, fronts)
            ),
        )
        for rule in rules
    ]


class Table:
    """Converts tensors from published names to ours, and back.

    Of the rules that fit a name the first one is taken.

    Args:
        rules: The rules, or lists of them.
        prefix: In front of the names of the base model in files of a model with a head; files of the base
            model alone lack it.
        tied: Our names of tensors that files may leave out, and of the tensor that they share.
    """

    def __init__(
        self,
        *rules: Rule | Iterable[Rule],
        prefix: str = "",
        tied: Mapping[str, str] | None = None,
    ) -> None:
        flat = [one for rule in rules for one in ([rule] if isinstance(rule, Rule) else rule)]
        self.rules = [_with_and_without(rule, prefix) for rule in flat] if prefix else flat
        self.tied = dict(tied or {})

    def to_ours(
        self, state: Mapping[str, Tensor], model: nn.Module | None = None
    ) -> dict[str, Tensor]:
        """Returns published tensors under our names; what no rule knows keeps its own.

        Args:
            state: Tensors under their names.
            model: Has the values that such files never hold.
        """
        rest, found = dict(state), {}
        values = model.state_dict() if model is not None else {}
        for rule in self.rules:
            for way in rule.theirs:
                for names, fields in _complete(way, rest):
                    pieces = [rest.pop(name) for name in names]
                    if rule.ours:
                        ours = [fill(name, fields) for name in rule.ours]
                        found.update(zip(ours, _read(rule, pieces), strict=True))
            if not rule.theirs:
                for (name,), _ in _complete(rule.ours, values):
                    found.setdefault(name, torch.clone(values[name]))
        for name, other in self.tied.items():
            if other in found:
                found.setdefault(name, found[other])
        return found | rest

    def to_theirs(
        self,
        state: Mapping[str, Tensor],
        model: nn.Module | None = None,
        names: Collection[str] = (),
    ) -> dict[str, Tensor]:
        """Returns our tensors under published names.

        Args:
            state: Tensors under our names.
            model: Knows where the sections of fused projections lie; they are taken as equal without it.
            names: Of a published file, whose generation of names is written.

        Raises:
            UserError: If a tensor has no place there.
        """
        rest, found = dict(state), {}
        # First the rules whose names the file has, so that each tensor is written as it was read.
        for known, rule in product((True, False), self.rules):
            for ours, fields in _complete(rule.ours, rest):
                ways = [[fill(name, fields) for name in way] for way in rule.theirs]
                present = [way for way in ways if all(name in names for name in way)]
                if known and not present:
                    continue
                pieces = [rest.pop(name) for name in ours]
                if not ways or (ours[0] in self.tied and not present):
                    continue
                way = (present or ways)[0]
                sections = _sections(model, ours[0], len(way))
                found.update(zip(way, _written(rule, pieces, len(way), sections), strict=True))
        if rest:
            raise UserError(
                f"{next(iter(rest))} has no place in the published format ({len(rest)} such of {len(state)})"
            )
        return found

    def theirs(self, name: str) -> tuple[str, ...]:
        """Returns the published names of one of our tensors; a fused projection has several.

        Raises:
            KeyError: If it has none.
        """
        for rule in self.rules:
            for template in rule.ours:
                fields = match(template, name)
                if fields is not None and rule.theirs:
                    return tuple(fill(theirs, fields) for theirs in rule.theirs[0])
        raise KeyError(name)

    def find(self, name: str, names: Collection[str]) -> tuple[str, ...]:
        """Returns what a published file calls one of our tensors; empty if it does not hold it.

        Args:
            name: Our name.
            names: Of the file.
        """
        for rule in self.rules:
            for template in rule.ours:
                fields = match(template, name)
                for way in rule.theirs if fields is not None else ():
                    found = tuple(fill(theirs, fields or {}) for theirs in way)
                    if all(one in names for one in found):
                        return found
        return ()

    def dropped(self, names: Iterable[str]) -> list[str]:
        """Returns which published names have no counterpart here."""
        ways = [way for rule in self.rules if not rule.ours for way in rule.theirs]
        return [name for name in names if any(match(way[0], name) is not None for way in ways)]


def _with_and_without(rule: Rule, prefix: str) -> Rule:
    ways = list(rule.theirs)
    for way in rule.theirs:
        bare = tuple(name.removeprefix(prefix) for name in way)
        if bare not in ways:
            ways.append(bare)
    return replace(rule, theirs=tuple(ways))


def _complete(way: Way, state: Mapping[str, Tensor]) -> list[tuple[list[str], Fields]]:
    """Returns the sets of names of a way that a state has all of."""
    if not way:
        return []
    sets = []
    for name in state:
        fields = match(way[0], name)
        if fields is not None:
            names = [fill(template, fields) for template in way]
            if all(one in state for one in names):
                sets.append((names, fields))
    return sets


def _read(rule: Rule, pieces: list[Tensor]) -> list[Tensor]:
    if rule.read is None:
        return pieces if len(pieces) == 1 else [torch.cat(pieces)]
    return _several(rule.read(*pieces))


def _written(
    rule: Rule, pieces: list[Tensor], number: int, sections: Sequence[slice] | None
) -> list[Tensor]:
    if rule.write is not None:
        return _several(rule.write(*pieces))
    [value] = pieces
    if number == 1:
        return [value]
    return [value[one] for one in sections] if sections else list(value.chunk(number))


def _several(values: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [values] if isinstance(values, Tensor) else list(values)


def _sections(model: nn.Module | None, name: str, number: int) -> list[slice] | None:
    """Returns where the sections of a fused projection lie, if the model says so."""
    if model is None or number == 1:
        return None
    layer = model.get_submodule(name.rpartition(".")[0])
    sections = list(layer.sections.values()) if isinstance(layer, FusedLinear) else []
    return sections if len(sections) == number else None
