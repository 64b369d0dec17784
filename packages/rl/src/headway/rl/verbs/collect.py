"""Records episodes of a model, a script or chance as a data set of Minari."""

import argparse
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import check_positive, check_seed
from headway.core.cli.progress import progress_bar
from headway.core.errors import UserError, one_line
from headway.rl.data.collecting import record, write_minari
from headway.rl.environments import make_vector, read_spaces
from headway.rl.metrics.evaluation import complete, fitting
from headway.rl.models import ActingModel, Policy, RandomPolicy, ScriptedPolicy


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway collect``."""
    parser.add_argument("--env", required=True, help="name of the environment, such as Hopper-v5")
    parser.add_argument(
        "--name", required=True, help="of the data set, such as headway/cartpole/random-v0"
    )
    parser.add_argument(
        "--policy",
        metavar="MODULE:NAME",
        help="a function of yours that returns the action for an observation; without it and -m, chance",
    )
    parser.add_argument("--target", type=float, default=0.0, help="return to ask a model for (0)")
    parser.add_argument("--episodes", type=int, default=100, help="how many (100)")
    parser.add_argument("--num-envs", type=int, default=16, help="side by side (16)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (0)")
    parser.add_argument("--stochastic", action="store_true", help="draw the actions of a model")


def run(args: argparse.Namespace) -> int:
    """Plays, and writes the data set where Minari keeps its own."""
    check_positive(args, "episodes", "num_envs")
    check_seed(args.seed)
    if args.out is not None:
        raise UserError(
            "a data set goes where Minari keeps them (MINARI_DATASETS_PATH); leave -o out"
        )
    if args.checkpoint and args.policy:
        raise UserError("-m and --policy both say who plays; give one of them")
    job = Job(args, None)
    path = free_name(args.name, overwrite=args.overwrite)
    envs = make_vector(args.env, min(args.num_envs, args.episodes))
    try:
        policy, envs, author = player(args, envs)
        with progress_bar("playing", total=args.episodes) as advance:
            found = record(
                policy,
                envs,
                episodes=args.episodes,
                seed=args.seed,
                deterministic=not args.stochastic,
                progress=advance,
            )
    finally:
        envs.close()
    said = f"{args.episodes} episodes of {args.env} by {author}, seeds from {args.seed}"
    free_name(args.name, overwrite=args.overwrite, remove=True)
    write_minari(args.name, found, args.env, description=said, author=author)
    totals = np.array([one.total for one in found])
    facts = {
        "name": args.name,
        "path": path,
        "episodes": len(found),
        "steps": sum(len(one.rewards) for one in found),
        "return_mean": float(totals.mean()),
        "return_least": float(totals.min()),
        "return_most": float(totals.max()),
    }
    job.say(
        f"{said}: {facts['steps']:,} steps, return {totals.mean():.4g} ({totals.min():.4g} to "
        f"{totals.max():.4g}), in {path}",
        facts,
    )
    return 0


def player(
    args: argparse.Namespace, envs: VectorEnv[Any, Any, Any]
) -> tuple[Policy, VectorEnv[Any, Any, Any], str]:
    """Returns who plays, the environments as it sees them, and what it is called."""
    if args.policy:
        return ScriptedPolicy(imported(args.policy)), envs, args.policy
    if not args.checkpoint:
        spaces = read_spaces(envs.single_observation_space, envs.single_action_space)
        return RandomPolicy(spaces, seed=args.seed), envs, "chance"
    model, _ = load_model(args.checkpoint, args.device, ActingModel, "which takes no actions")
    complete(model, envs)
    envs = fitting(envs, model.spaces)
    name = f"{type(model).__name__} asked for {args.target:g}"
    return model.policy(target_return=args.target, seed=args.seed), envs, name


def imported(name: str) -> Callable[[Any], Any]:
    """Imports the function that the person at the keyboard has named.

    Raises:
        UserError: If there is none, or it is no function.
    """
    module, _, attribute = name.partition(":")
    if not attribute:
        raise UserError(f"--policy {name} is no MODULE:NAME")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"--policy {name} cannot be imported ({one_line(error)[:200]})") from None
    if not callable(found):
        raise UserError(f"--policy {name} is no function")
    return found


def free_name(name: str, *, overwrite: bool, remove: bool = False) -> str:
    """Returns the folder of a data set that is to be written.

    Args:
        name: Of the data set.
        overwrite: Whether one that is there may go.
        remove: Whether it goes now.

    Raises:
        UserError: If minari is missing, the name is none, or the data set is there.
    """
    try:
        import minari
        from minari.dataset.minari_dataset import parse_dataset_id
        from minari.storage import get_dataset_path
    except ImportError:
        raise UserError('a data set needs minari: pip install "headway[rl]"') from None
    try:
        parse_dataset_id(name)
    except Exception as error:
        raise UserError(
            f"--name {name} is no name of a data set ({one_line(error)[:160]}); it ends in -v0, -v1 ..."
        ) from None
    folder = get_dataset_path(name)
    if folder.exists() and not overwrite:
        raise UserError(f"the data set {name} exists ({folder}); --overwrite replaces it")
    if folder.exists() and remove:
        minari.delete_dataset(name)
    return str(folder)
