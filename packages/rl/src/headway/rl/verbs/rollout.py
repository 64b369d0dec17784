"""Plays a policy in its environment: a table of episodes, return over target, a video."""

import argparse
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import Numbers, add_plot, check_positive, check_seed
from headway.core.cli.progress import progress_bar
from headway.core.errors import UserError
from headway.core.training.run_folder import RunFolder
from headway.core.weights import read_preprocessing
from headway.core.weights.preprocessing import note
from headway.rl.environments import check_drawn, make_vector, refuse_import
from headway.rl.figures import return_figure
from headway.rl.films import Film, check_film, tile
from headway.rl.metrics import (
    Episode,
    bootstrap_interval,
    evaluate,
    interquartile_mean,
    normalised_score,
    summarise,
    task_of,
)
from headway.rl.models import ActingModel

# The same model from several seeds.
MANY_CHECKPOINTS = True
COLUMNS = ("run", "weights", "target", "episode", "return", "steps", "terminated")
# Of a video that is given a folder.
FILM = "episodes.mp4"
# A video shows the first episodes of each target.
SHOWN = 4


class Played(NamedTuple):
    """The episodes of one run for one target.

    Args:
        run: What was given with ``-m``.
        weights: ``best``, those that training has exported, or ``last``.
        target: Return that was asked for.
        episodes: The episodes.
    """

    run: str
    weights: str
    target: float
    episodes: list[Episode]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway rollout``."""
    parser.add_argument("--env", help="environment, where it is not the one of the training data")
    parser.add_argument(
        "--targets",
        action=Numbers,
        nargs="+",
        help="returns to ask for (the least, the median and the most of the training data)",
    )
    parser.add_argument(
        "--headline",
        type=float,
        metavar="TARGET",
        help="the target that counts, chosen beforehand (the most of the training data)",
    )
    parser.add_argument(
        "--last", action="store_true", help="play the last weights of each run beside the best"
    )
    parser.add_argument("--episodes", type=int, default=100, help="for each target and run (100)")
    parser.add_argument("--num-envs", type=int, default=16, help="side by side (16)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (0)")
    parser.add_argument("--stochastic", action="store_true", help="draw the actions")
    add_plot(parser, "return over target")
    parser.add_argument(
        "--video", type=Path, metavar="MP4", help="a few episodes; .mp4, .gif or a folder"
    )


def run(args: argparse.Namespace) -> int:
    """Writes one row per episode."""
    check_positive(args, "episodes", "num_envs")
    check_seed(args.seed)
    if args.video is not None and not args.video.suffix:
        args.video /= FILM
    job = Job(args, "rollout of", extra=["plot", "video"])
    if args.video is not None:
        check_film(args.video)
    runs, first = args.checkpoint, args.checkpoint[0]
    sources = [(run, "best", run) for run in runs]
    if args.last:
        sources += [(run, "last", last_of(run)) for run in runs]
    notes = read_preprocessing(first)
    name = environment_of(args, notes)
    if args.video is not None:
        check_drawn(name)
    seen = returns_of(first, notes)
    targets = targets_of(args, seen)
    headline = max(seen.values(), default=targets[-1]) if args.headline is None else args.headline
    played: list[Played] = []
    for run, weights, path in sources:
        model, _ = load_model(path, args.device, ActingModel, "which takes no actions")
        if not played:
            warn(model, targets, seen)
        # Who is told no return does the same for all.
        asked = targets if model.reads_returns else [headline]
        played += [
            Played(run, weights, target, play(model, name, target, args)) for target in asked
        ]
        if args.video is not None and path == first:
            film(model, name, asked, args)
    job.table(COLUMNS, (row(one, episode) for one in played for episode in one.episodes))
    best = [one for one in played if one.weights == "best"]
    totals = {target: list(chain(*_returns(best, target))) for target in _targets(best)}
    job.draw(return_figure, totals, seen=seen)
    said = {
        weights: {
            f"{target:g}": summary(name, [one for one in played if one[1:3] == (weights, target)])
            for target in _targets(played)
        }
        for weights in dict.fromkeys(one.weights for one in played)
    }
    facts = {"environment": name, "headline": headline, "targets": said["best"]}
    if "last" in said:
        facts["last"] = said["last"]
    job.say("\n".join(lines(name, said, headline)), facts)
    return 0


def last_of(run: str) -> str:
    """Returns the last weights of a run.

    Raises:
        UserError: If it has none.
    """
    last = RunFolder(Path(run)).last
    if not last.is_file():
        raise UserError(f"--last needs runs: there is no {last}")
    return str(last)


def environment_of(args: argparse.Namespace, notes: Mapping[str, Any]) -> str:
    """Returns the name of the environment to play in."""
    if args.env is not None:
        return args.env
    first = args.checkpoint[0]
    named = note(notes, "environment", str, first)
    if named is None:
        raise UserError("the model does not say which environment it is for; add --env NAME")
    return refuse_import(named, f"preprocessing.json of {first}")


def returns_of(checkpoint: str, notes: Mapping[str, Any]) -> dict[str, float]:
    """Returns what the training data had: the least, the median and the most."""
    seen = note(notes, "returns", dict, checkpoint) or {}
    for key in seen:
        if note(seen, key, float, checkpoint) is None:
            raise UserError(f"preprocessing.json of {checkpoint}: returns has no value of {key}")
    return seen


def targets_of(args: argparse.Namespace, seen: Mapping[str, float]) -> list[float]:
    """Returns the targets that are asked for, the headline among them."""
    targets = set(args.targets or seen.values())
    if args.headline is not None:
        targets.add(args.headline)
    if not targets:
        raise UserError("the model does not say which returns it has seen; add --targets R [R ...]")
    return sorted(targets)


def warn(model: ActingModel, targets: list[float], seen: dict[str, float]) -> None:
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


def play(model: ActingModel, name: str, target: float, args: argparse.Namespace) -> list[Episode]:
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


def film(model: ActingModel, name: str, targets: list[float], args: argparse.Namespace) -> None:
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


def row(played: Played, one: Episode) -> dict[str, Any]:
    """Returns the row of an episode."""
    cells = (
        played.run,
        played.weights,
        f"{one.target:g}",
        one.number,
        f"{one.total:.6g}",
        one.steps,
        int(one.terminated),
    )
    return dict(zip(COLUMNS, cells, strict=True))


def summary(name: str, played: Sequence[Played]) -> dict[str, Any]:
    """Returns what came about for one target, over all runs."""
    runs = [[episode.total for episode in one.episodes] for one in played]
    middle, task = interquartile_mean(list(chain(*runs))), task_of(name)
    said: dict[str, Any] = {
        **summarise([episode for one in played for episode in one.episodes]),
        "runs": len(runs),
        "interquartile_mean": middle,
        "interval": bootstrap_interval(runs),
    }
    if task is not None:
        said["normalised"] = normalised_score(task, said["return_mean"])
    return said


def lines(
    name: str, said: Mapping[str, Mapping[str, Mapping[str, Any]]], headline: float
) -> Iterator[str]:
    """Yields what came about for each target, the headline marked."""
    for weights, targets in said.items():
        for target, one in targets.items():
            low, high = one["interval"]
            over = f" over {one['runs']} runs" if one["runs"] > 1 else ""
            score = f", normalised {one['normalised']:.1f}" if "normalised" in one else ""
            which = "" if len(said) == 1 else f", {weights} weights"
            mark = "  <- headline" if target == f"{headline:g}" and len(targets) > 1 else ""
            yield (
                f"{name}, target {target}{which}: return {one['return_mean']:.4g} (deviation "
                f"{one['return_std']:.3g}, {one['return_least']:.4g} to {one['return_most']:.4g}; "
                f"interquartile mean {one['interquartile_mean']:.4g}, 95 %: {low:.4g} to {high:.4g}"
                f"{over}){score} in {one['episodes']} episodes of {one['steps_mean']:.1f} steps{mark}"
            )


def _targets(played: Sequence[Played]) -> list[float]:
    return sorted({one.target for one in played})


def _returns(played: Sequence[Played], target: float) -> Iterator[list[float]]:
    for one in played:
        if one.target == target:
            yield [episode.total for episode in one.episodes]
