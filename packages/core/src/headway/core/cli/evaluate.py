"""``headway validate`` and ``headway test``: the metrics of a run on its data."""

import json
from pathlib import Path

from headway.core.cli.parser import Parser
from headway.core.cli.recipes import Recipe, check_recipes, find_recipe
from headway.core.cli.requirements import domains_named, import_rooms, need_training
from headway.core.errors import UserError


def run(verb: str, words: list[str]) -> int:
    """Evaluates.

    Args:
        verb: ``"validate"`` or ``"test"``.
        words: What follows it.
    """
    parser = Parser(
        prog=f"headway {verb}",
        description="Any key of the recipe is an option too: --data.batch_size 64.",
    )
    parser.add_argument(
        "-m", "--checkpoint", type=Path, metavar="SOURCE", help="run folder or .ckpt"
    )
    parser.add_argument("-c", "--config", action="append", default=[], metavar="RECIPE")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args, overrides = parser.parse_known_args(words)
    if args.checkpoint is None:
        raise UserError(f"{verb} what? headway {verb} -m RUN (a run folder or a .ckpt)")
    checkpoint, config = _locate(args.checkpoint)
    recipes = [find_recipe(name) for name in args.config]
    if not recipes:
        if config is None:
            raise UserError(f"{checkpoint} has no config.yaml beside it; add -c RECIPE")
        recipes = [Recipe("config", config)]
    check_recipes(recipes)
    wanted = domains_named([r.name for r in recipes] + [r.text for r in recipes])
    need_training(wanted)
    import_rooms(wanted)
    return _evaluate(verb, recipes, overrides, checkpoint, as_json=args.json)


def _locate(source: Path) -> tuple[Path, Path | None]:
    """Returns the checkpoint and the configuration that ``-m`` means; the best one of a run."""
    if source.is_dir():
        for name in ("best", "last"):
            if (file := source / "checkpoints" / f"{name}.ckpt").is_file():
                return file, _if_file(source / "config.yaml")
        raise UserError(f"{source} has no checkpoints/best.ckpt or last.ckpt")
    if not source.is_file():
        raise UserError(f"there is no {source}")
    return source, _if_file(source.parent.parent / "config.yaml")


def _if_file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _evaluate(
    verb: str, recipes: list[Recipe], overrides: list[str], checkpoint: Path, *, as_json: bool
) -> int:
    from lightning.pytorch.callbacks import Checkpoint, ProgressBar

    from headway.core.cli.config import RecipeCLI
    from headway.core.training.checkpoint_io import FirstBatch

    cli = RecipeCLI([recipe.path for recipe in recipes], overrides)
    # What a task draws belongs to the run.
    folder = checkpoint.parent
    first = FirstBatch()
    trainer = cli.build_trainer(
        [first],
        without=(Checkpoint, ProgressBar),
        default_root_dir=str(folder.parent if folder.name == "checkpoints" else folder),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    function = trainer.validate if verb == "validate" else trainer.test
    with first.going_on_from(checkpoint):
        results = function(
            cli.model, cli.datamodule, ckpt_path=str(checkpoint), weights_only=True, verbose=False
        )
    metrics = {name: value for part in results for name, value in part.items()}
    if as_json:
        print(json.dumps(metrics, indent=2))
        return 0
    width = max((len(name) for name in metrics), default=0)
    for name, value in sorted(metrics.items()):
        print(f"{name:<{width}}  {value:.6g}")
    return 0
