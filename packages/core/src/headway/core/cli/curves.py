"""``headway curves``: what several runs have learned, in one picture."""

import json
from pathlib import Path

from headway.core.cli.options import refuse_to_overwrite
from headway.core.cli.parser import Parser
from headway.core.errors import UserError
from headway.core.files import save_figure
from headway.core.training.learning_curves import OVER, Curve, common_metric, draw, read_curves
from headway.core.training.run_folder import RunFolder


def run(verb: str, words: list[str]) -> int:
    """Draws.

    Args:
        verb: ``"curves"``.
        words: What follows it.
    """
    parser = Parser(
        prog=f"headway {verb}",
        description="Draws a metric of several runs; the seeds of a recipe share a colour and a mean.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run folders, or folders of them"
    )
    parser.add_argument("--metric", help="a column of metrics.csv; the first validation metric")
    parser.add_argument("--over", choices=OVER, default="step", help="what it is drawn over (step)")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the picture to write (.png)")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args(words)
    refuse_to_overwrite(args.out, overwrite=args.overwrite)
    found = list(dict.fromkeys(run for given in args.runs for run in runs_in(given)))
    metric = args.metric or common_metric(found)
    curves = read_curves(found, metric, args.over)
    save_figure(draw(curves, metric, args.over), args.out)
    facts = {"metric": metric, "out": str(args.out), "runs": summary(curves)}
    if args.json:
        print(json.dumps(facts))
        return 0
    for name, one in facts["runs"].items():
        print(
            f"{name}: {metric} {one['mean']:.4g} at the end ({one['least']:.4g} to {one['most']:.4g}) "
            f"of {one['number']} {'run' if one['number'] == 1 else 'runs'}"
        )
    print(f"drawn in {args.out}")
    return 0


def runs_in(folder: Path) -> list[Path]:
    """Returns a run folder, or the runs that lie in a folder, in their order.

    Raises:
        UserError: If there are none.
    """
    if RunFolder(folder).metrics.is_file():
        return [folder]
    inner = (
        [one for one in folder.iterdir() if RunFolder(one).metrics.is_file()]
        if folder.is_dir()
        else []
    )
    if not inner:
        raise UserError(
            f"{folder} is no run: it has no metrics.csv, and neither have folders in it"
        )
    return sorted(inner, key=lambda one: (not one.name.isdigit(), one.name.zfill(9)))


def summary(curves: dict[str, list[Curve]]) -> dict[str, dict[str, float]]:
    """Returns mean, least and most of the last values of the runs of each name."""
    found = {}
    for name, runs in curves.items():
        last = [one.values[-1] for one in runs]
        found[name] = {
            "number": len(last),
            "mean": sum(last) / len(last),
            "least": min(last),
            "most": max(last),
        }
    return found
