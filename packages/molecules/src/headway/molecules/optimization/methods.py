"""Methods by name, as the command line and the benchmark make them."""

from collections.abc import Callable, Sequence
from typing import Any

from headway.core.errors import UserError
from headway.core.language import LanguageModel
from headway.molecules.models import JointTransformer
from headway.molecules.optimization.base import Optimizer
from headway.molecules.optimization.diversity import ScaffoldBuckets
from headway.molecules.optimization.graph_ga import GraphGA
from headway.molecules.optimization.joint import JointOptimization
from headway.molecules.optimization.memory import Memory
from headway.molecules.optimization.pairs import PairTuning
from headway.molecules.optimization.ppo import PPO
from headway.molecules.optimization.reinvent import Reinvent

Make = Callable[..., Optimizer]


def make_optimizer(
    name: str,
    model: LanguageModel | None,
    *,
    start: Sequence[str] = (),
    seed: int = 0,
    **options: Any,
) -> Optimizer:
    """Returns an optimiser by name.

    Args:
        name: ``reinvent``, ``ppo``, ``pairs``, ``joint`` or ``ga``.
        model: A language model; ``ga`` does without.
        start: Molecules to begin with, for ``ga`` and ``pairs``.
        seed: Of all that is drawn.
        **options: What is otherwise than usual: batch_size, lr, sigma, buckets, replay, targets, invalid.
            None is as usual.

    Raises:
        UserError: If there is no such method, it lacks a model or molecules, or does not take an option.
    """
    if name not in METHODS:
        raise UserError(f"there is no method {name!r}; known: {', '.join(METHODS)}")
    make, taken = METHODS[name]
    given = {key: value for key, value in options.items() if value is not None}
    wrong = [key for key in given if key not in taken]
    if wrong:
        raise UserError(f"{name} takes no {', '.join(wrong)}; it takes {', '.join(taken)}")
    if start and name not in ("ga", "pairs"):
        raise UserError(f"{name} begins with its model and takes no molecules; leave --start out")
    if name != "ga" and model is None:
        raise UserError(f"{name} needs a language model; ga does without")
    return make(model, start, seed, **given)


def _reinvent(
    model: Any,
    start: Sequence[str],
    seed: int,
    *,
    buckets: int = 0,
    replay: int = 24,
    **options: Any,
) -> Optimizer:
    memory = Memory(count=replay) if replay else None
    return Reinvent(model, buckets=_filter(buckets), memory=memory, seed=seed, **options)


def _ppo(
    model: Any, start: Sequence[str], seed: int, *, buckets: int = 0, **options: Any
) -> Optimizer:
    return PPO(model, buckets=_filter(buckets), seed=seed, **options)


def _pairs(model: Any, start: Sequence[str], seed: int, **options: Any) -> Optimizer:
    return PairTuning(model, start=start, seed=seed, **options)


def _joint(model: Any, start: Sequence[str], seed: int, **options: Any) -> Optimizer:
    if not isinstance(model, JointTransformer):
        raise UserError(
            f"joint needs a Joint Transformer (molecules/joint_moses), not a {type(model).__name__}"
        )
    return JointOptimization(model, seed=seed, **options)


def _ga(model: Any, start: Sequence[str], seed: int, *, batch_size: int = 70) -> Optimizer:
    return GraphGA(start, offspring=batch_size, seed=seed)


def _filter(size: int) -> ScaffoldBuckets | None:
    return ScaffoldBuckets(size=size) if size else None


METHODS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "reinvent": (
        _reinvent,
        ("batch_size", "lr", "sigma", "buckets", "replay", "targets", "invalid"),
    ),
    "ppo": (_ppo, ("batch_size", "lr", "buckets", "targets", "invalid")),
    "pairs": (_pairs, ("batch_size", "lr")),
    "joint": (_joint, ("batch_size", "lr")),
    "ga": (_ga, ("batch_size",)),
}
