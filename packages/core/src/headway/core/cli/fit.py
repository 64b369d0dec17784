"""``headway fit``: trains a recipe in a new run folder, or continues a run."""

import logging
import os
import re
import shlex
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.core.cli.main import FAILED
from headway.core.cli.parser import Parser
from headway.core.cli.recipes import Recipe, check_recipes, find_recipe
from headway.core.cli.requirements import domains_named, import_rooms, need_training
from headway.core.errors import UserError
from headway.core.files import remove_leftovers

_RUN_OF_RANK_ZERO = "HEADWAY_RUN"
# What shells return for a process ended by SIGTERM.
TERMINATED = 143
INTERRUPTED = 130

_ABOUT = """\
headway fit -c vision/vit_digits --trainer.max_epochs 5    trains a recipe
headway fit -c base.yaml -c mine.yaml                      the second goes over the first
headway fit --resume runs/vision/vit_digits/1              continues exactly

Any key of a recipe is an option: --model.optimizer.lr 1e-3, --data.batch_size 64.
trainer.gradient_clip_val and trainer.accumulate_grad_batches clip and accumulate gradients.
--print_config prints the whole configuration; --model.help CLASS explains the options of a class.
"""


@dataclass
class Plan:
    """What a command line asks for.

    Args:
        recipes: Configurations, merged in order.
        overrides: Dotted options.
        resume: Folder of the run to continue.
        root: Folder of new runs.
    """

    recipes: list[Recipe]
    overrides: list[str]
    resume: Path | None
    root: Path


def run(verb: str, words: list[str]) -> int:
    """Trains.

    Args:
        verb: ``"fit"``.
        words: What follows it.
    """
    plan = _plan(verb, words)
    check_recipes(plan.recipes)
    texts = [recipe.name for recipe in plan.recipes] + plan.overrides
    texts += [recipe.text for recipe in plan.recipes]
    wanted = domains_named(texts)
    need_training(wanted)
    if not plan.recipes and plan.resume is None and not _asks(plan.overrides):
        raise UserError("fit what? headway fit -c RECIPE (see headway ls recipes) or --resume RUN")
    import_rooms(wanted)
    return _train(plan, words)


def _plan(verb: str, words: list[str]) -> Plan:
    parser = Parser(prog=f"headway {verb}", description=_ABOUT, raw=True)
    parser.add_argument("-c", "--config", action="append", default=[], metavar="RECIPE")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="run folder to continue")
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path(os.environ.get("HEADWAY_RUNS", "runs")),
        metavar="FOLDER",
        help="where new run folders are made (default: runs, or HEADWAY_RUNS)",
    )
    args, overrides = parser.parse_known_args(words)
    if args.resume is not None and args.config:
        raise UserError("--resume takes the recipe of the run; leave out -c, override single keys")
    found = [find_recipe(name) for name in args.config]
    if args.resume is not None:
        config = args.resume / "config.yaml"
        if not config.exists():
            why = "it has no config.yaml" if args.resume.is_dir() else "there is no such folder"
            raise UserError(f"{args.resume} cannot be continued: {why}")
        found = [Recipe("config", config)]
    return Plan(found, overrides, args.resume, args.runs)


def _asks(overrides: list[str]) -> bool:
    """Whether the words only want to be told something."""
    return any(re.match(r"--(print_config|[\w.]*help)\b", word) for word in overrides)


def _train(plan: Plan, words: list[str]) -> int:
    from lightning.pytorch.utilities import rank_zero_only
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from headway.core.cli.config import RecipeCLI
    from headway.core.training.checkpoint_io import FirstBatch
    from headway.core.training.finite import NonFiniteError
    from headway.core.training.run_folder import RunFolder, new_run

    cli = RecipeCLI([recipe.path for recipe in plan.recipes], plan.overrides)
    if cli.model is None or cli.datamodule is None:
        missing = "model" if cli.model is None else "data"
        raise UserError(f"the configuration has no {missing}: section")
    folder, restart = plan.resume, None
    made = os.environ.get(_RUN_OF_RANK_ZERO)
    if getattr(rank_zero_only, "rank", 0):
        # What the first process says of the data holds for all.
        logging.getLogger("headway").setLevel(logging.ERROR)
    if folder is None and made:
        # Lightning starts the other ranks with the same words; they belong to the run of the first.
        folder = Path(made)
    if folder is None:
        run_folder = new_run(plan.root, plan.recipes[-1].name if plan.recipes else "unnamed")
        os.environ[_RUN_OF_RANK_ZERO] = str(run_folder.path)
    else:
        run_folder = RunFolder(folder)
        if plan.resume and not made:
            remove_leftovers(folder)
        # Killed before its first checkpoint, a run begins again; that is exact too.
        restart = str(run_folder.last) if plan.resume and run_folder.last.is_file() else None
    trainer: Any = None
    first = FirstBatch()
    try:
        trainer = cli.build_trainer(
            [*_callbacks(cli.config_init.trainer), first],
            default_root_dir=str(run_folder.path),
            logger=_logger(cli.config_init.trainer.get("logger"), run_folder),
        )
        if trainer.is_global_zero:
            cli.save(run_folder.config, f"headway fit {shlex.join(words)}")
            print(f"run folder: {run_folder.path}")
            if restart is None and (report := getattr(cli.model.backbone, "load_report", None)):
                print(f"weights: {report}")
        with first.going_on_from(restart):
            trainer.fit(cli.model, cli.datamodule, ckpt_path=restart, weights_only=True)
    except SIGTERMException:
        # A SystemExit without a code: it would pass for success.
        if trainer is None or trainer.is_global_zero:
            print(f"terminated; continue with headway fit --resume {run_folder.path}")
        return TERMINATED
    except SystemExit:
        # What Lightning makes of Ctrl+C; the signal was switched off for its clearing up.
        if trainer is None or not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if trainer.is_global_zero:
            print(f"interrupted; continue with headway fit --resume {run_folder.path}")
        return INTERRUPTED
    except NonFiniteError:
        # All processes stop together, and the first says why.
        if trainer is not None and not trainer.is_global_zero:
            return FAILED
        raise
    except UserError:
        # A mistake that shows late, such as a warm-up longer than the run, leaves no folder behind.
        if folder is None and not run_folder.last.exists():
            shutil.rmtree(run_folder.path)
        raise
    finally:
        os.environ.pop(_RUN_OF_RANK_ZERO, None)
    if trainer.is_global_zero:
        _report(trainer, run_folder)
    return 0


def _callbacks(trainer: Mapping[str, Any]) -> list[Any]:
    from lightning.pytorch.callbacks import ProgressBar, RichProgressBar

    from headway.core.cli.verbs import is_terminal
    from headway.core.training.recorder import RunRecorder
    from headway.core.training.reporter import LineReporter

    if trainer.get("enable_progress_bar") is False:
        return [RunRecorder()]
    progress: ProgressBar = RichProgressBar() if is_terminal() else LineReporter()
    return [RunRecorder(), progress]


def _logger(chosen: Any, run_folder: Any) -> Any:
    """Returns the configured logger, or TensorBoard in the run folder where none is named."""
    if chosen not in (None, True):
        return chosen
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(str(run_folder.path), name="", version="tensorboard")


def _report(trainer: Any, run_folder: Any) -> None:
    from headway.core.training.recorder import RunRecorder

    best = next((c.best for c in trainer.callbacks if isinstance(c, RunRecorder)), None)
    score = "" if best is None else f", best {trainer.lightning_module.monitor} {best:.4g}"
    print(f"done: step {trainer.global_step}{score}; model in {run_folder.model}")
