"""Plays a policy in its environment: a table of episodes, return over target, a video."""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import add_plot, check_positive, check_seed
from headway.core.cli.progress import progress_bar
from headway.core.errors import UserError
from headway.core.weights import read_preprocessing
from headway.core.weights.preprocessing import note
from headway.rl.environments import make_vector, refuse_import
from headway.rl.figures import return_figure
from headway.rl.films import Film, check_film, tile
from headway.rl.metrics import Episode, evaluate, summarise
from headway.rl.models import DecisionModel

COLUMNS = ("target", "episode", "return", "steps", "terminated")
# A video shows the first episodes of each target.
SHOWN = 4


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway rollout``."""
    parser.add_argument("--env", help="environment, where it is not the one of the training data")
    parser.add_argument(
        "--targets",
        type=float,
        nargs="+",
        help="returns to ask for (the least, the median and the most of the training data)",
    )
    parser.add_argument("--episodes", type=int, default=100, help="for each target (100)")
    parser.add_argument("--num-envs", type=int, default=16, help="side by side (16)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (0)")
    parser.add_argument("--stochastic", action="store_true", help="draw the actions")
    add_plot(parser, "return over target")
    parser.add_argument("--video", type=Path, metavar="MP4", help="a few episodes; .mp4 or .gif")


def run(args: argparse.Namespace) -> int:
    """Writes one row per episode."""
    check_positive(args, "episodes", "num_envs")
    check_seed(args.seed)
    job = Job(args, "rollout of", extra=["plot", "video"])
    if args.video is not None:
        check_film(args.video)
    model, _ = load_model(args.checkpoint, args.device, DecisionModel, "which takes no actions")
    notes = read_preprocessing(args.checkpoint)
    name = args.env
    named = note(notes, "environment", str, args.checkpoint)
    if name is None and named is not None:
        name = refuse_import(named, f"preprocessing.json of {args.checkpoint}")
    if name is None:
        raise UserError("the model does not say which environment it is for; add --env NAME")
    seen = note(notes, "returns", dict, args.checkpoint) or {}
    for key in seen:
        if note(seen, key, float, args.checkpoint) is None:
            raise UserError(
                f"preprocessing.json of {args.checkpoint}: returns has no value of {key}"
            )
    targets = sorted(set(args.targets or seen.values()))
    if not targets:
        raise UserError("the model does not say which returns it has seen; add --targets R [R ...]")
    warn(model, targets, seen)
    played = {target: play(model, name, target, args) for target in targets}
    job.table(COLUMNS, (row(one) for found in played.values() for one in found))
    totals = {target: [one.total for one in found] for target, found in played.items()}
    job.draw(return_figure, totals, seen=seen)
    if args.video is not None:
        film(model, name, targets, args)
    said = {f"{target:g}": summarise(found) for target, found in played.items()}
    job.say("\n".join(lines(name, said)), {"environment": name, "targets": said})
    return 0


def warn(model: DecisionModel, targets: list[float], seen: dict[str, float]) -> None:
    """Says what makes the answers of a policy doubtful, and refuses targets that are no numbers."""
    wrong = [target for target in targets if not math.isfinite(target)]
    if wrong:
        raise UserError(f"--targets {wrong[0]:g} is no return that can be asked for")
    if not model.has_statistics:
        print(
            "headway: the model holds no statistics of observations and returns, so it sees them as they "
            "are; set_statistics, or training on your data, gives it some",
            file=sys.stderr,
        )
    if {"least", "most"} <= seen.keys():
        least, most = seen["least"], seen["most"]
        outside = [f"{target:g}" for target in targets if not least <= target <= most]
        if outside:
            print(
                f"headway: asked for {', '.join(outside)}, the training data have {least:g} to {most:g}; "
                "beyond them a policy guesses",
                file=sys.stderr,
            )


def play(model: DecisionModel, name: str, target: float, args: argparse.Namespace) -> list[Episode]:
    """Returns the episodes of one target."""
    envs = make_vector(name, min(args.num_envs, args.episodes))
    try:
        with progress_bar(f"target {target:g}", total=args.episodes) as advance:
            return evaluate(
                model,
                envs,
                target=target,
                episodes=args.episodes,
                seed=args.seed,
                deterministic=not args.stochastic,
                progress=advance,
            )
    finally:
        envs.close()


def film(model: DecisionModel, name: str, targets: list[float], args: argparse.Namespace) -> None:
    """Writes the first episodes of each target, one target after the other."""
    envs: Any = make_vector(name, min(SHOWN, args.episodes), render_mode="rgb_array")
    try:
        with Film(args.video, fps=int(envs.metadata.get("render_fps", 15))) as made:

            def shoot() -> None:
                pictures = [picture for picture in envs.render() if picture is not None]
                if not pictures:
                    raise UserError(f"{name} cannot be drawn; leave --video out")
                made.add(tile(pictures))

            for target in targets:
                evaluate(
                    model, envs, target=target, episodes=envs.num_envs, seed=args.seed, frame=shoot
                )
    finally:
        envs.close()


def row(one: Episode) -> dict[str, Any]:
    """Returns the row of an episode."""
    cells = (f"{one.target:g}", one.number, f"{one.total:.6g}", one.steps, int(one.terminated))
    return dict(zip(COLUMNS, cells, strict=True))


def lines(name: str, said: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yields what came about for each target."""
    for target, one in said.items():
        yield (
            f"{name}, target {target}: return {one['return_mean']:.4g} (deviation "
            f"{one['return_std']:.3g}, {one['return_least']:.4g} to {one['return_most']:.4g}) in "
            f"{one['episodes']} episodes of {one['steps_mean']:.1f} steps"
        )
