"""LightningCLI as headway uses it: tasks and data modules by class name, errors in one line."""

import argparse
import contextlib
import contextvars
import functools
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from jsonargparse import Namespace, get_loader, set_loader
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from yaml import YAMLError

from headway.core.cli.explain_config import explain
from headway.core.cli.main import is_out_of_memory
from headway.core.errors import UserError, one_line
from headway.core.files import atomic_write
from headway.core.moves import moved
from headway.core.training import DataModule, Task
from headway.core.training.checkpoint_io import use_atomic_checkpoints
from headway.core.weights.config import arguments_today, find_class, write_argument

DEFAULTS: dict[str, Any] = {
    # One process on the best device; more devices are asked for by trainer.devices.
    "devices": 1,
    # The order of the data knows about ranks already, and about continuing.
    "use_distributed_sampler": False,
    "enable_model_summary": False,
    "log_every_n_steps": 10,
}


def load_recipe(text: str) -> Any:
    """Returns what a recipe or an option says, what earlier releases wrote as it is today."""
    return _today(get_loader("yaml")(text))


def _today(value: Any) -> Any:
    if isinstance(value, dict):
        return _with_arguments_of_today({key: _today(item) for key, item in value.items()})
    if isinstance(value, list):
        return [_today(item) for item in value]
    return moved(value) if isinstance(value, str) and value.startswith("headway.") else value


def _with_arguments_of_today(value: dict[str, Any]) -> dict[str, Any]:
    path, args = value.get("class_path"), value.get("init_args")
    if not isinstance(path, str) or not path.startswith("headway.") or not isinstance(args, dict):
        return value
    try:
        return {**value, "init_args": arguments_today(find_class(value, ()), args)}
    except UserError:  # the parser says what is wrong with the class
        return value


set_loader("recipe", load_recipe, exceptions=(YAMLError,))


class RecipeParser(LightningArgumentParser):
    """A parser that can write every configuration that it can read, and reads no part of it twice."""

    _parts: ClassVar[dict[Any, tuple[Namespace, Any]] | None] = None

    @classmethod
    @contextlib.contextmanager
    def remembering(cls) -> Iterator[None]:
        """Remembers what parts of a configuration were read as, while one command line is parsed.

        jsonargparse reads a part of a class several times at each level of a configuration, the parts
        within it each time again: a factory five levels deep is read hundreds of times, always the same.
        """
        cls._parts = {}
        try:
            yield
        finally:
            cls._parts = None

    def parse_args(self, args: Any = None, *rest: Any, **options: Any) -> Namespace:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Parses words; those of an argument within a class come as jsonargparse has put them together.

        A null that has gone through a level of classes comes as ``None``, which an argument that may be a
        text would take for one.
        """
        if isinstance(args, list):
            args = [
                word.removesuffix("=None") + "=null" if word.endswith("=None") else word
                for word in args
            ]
        return super().parse_args(args, *rest, **options)

    def parse_object(self, *args: Any, **options: Any) -> Namespace:
        """Returns the arguments of a class, as the parser of that class reads them."""
        known = self._parts
        if known is None:
            return super().parse_object(*args, **options)
        # What is read depends on where the parser stands, too, which it keeps in context variables.
        context = {variable.name: value for variable, value in contextvars.copy_context().items()}
        state = frozenset((name, id(value)) for name, value in context.items())
        key = (id(self), repr(args), repr(options), state)
        if key not in known:
            read = super().parse_object(*args, **options)
            # Kept alive, so that no other object gets the address of one that the key speaks of.
            known[key] = read.clone(), (self, args, options, context)
            return read
        return known[key][0].clone()

    def dump(self, cfg: Any, *args: Any, **options: Any) -> str:
        """Returns a configuration as text, factories as class paths and arguments."""
        return super().dump(_written(cfg), *args, **options)


class RecipeCLI(LightningCLI):
    """Builds trainer, task and data from configurations; runs nothing by itself.

    Args:
        files: Configurations, merged in order.
        overrides: Dotted options that go over them.
    """

    def __init__(self, files: list[Path], overrides: list[str]) -> None:
        self.files = files
        self.overrides = overrides
        quiet()
        args = [f"--config={file}" for file in files] + overrides
        with warnings.catch_warnings():
            # It looks at sys.argv, which is none of its business here.
            warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
            super().__init__(
                model_class=Task,
                datamodule_class=DataModule,
                parser_class=RecipeParser,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=None,
                seed_everything_default=0,
                trainer_defaults=DEFAULTS,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={
                    "parser_mode": "recipe",
                    "exit_on_error": False,
                    "allow_abbrev": False,
                },
                args=args,
                run=False,
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses; what is wrong becomes one line."""
        try:
            with RecipeParser.remembering():
                self.config = parser.parse_args(args)
        except argparse.ArgumentError as error:
            options = [a.dest for a in parser._actions if a.dest not in ("help", "config")]
            raise UserError(
                explain(str(error), options=options, files=self.files, words=self.overrides)
            ) from error
        _check_numbers(self.config)

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as error:
            raise UserError(f"seed_everything: {one_line(error)}") from None

    def instantiate_classes(self) -> None:
        """Builds the task and the data; the trainer is built later, when its folder is known."""
        try:
            self.config_init: Any = self.parser.instantiate(self.config)
        except (TypeError, ValueError) as error:
            # Constructors check values; of wrong types Python complains in its own words.
            if _caused_by_user(error) or is_out_of_memory(error):
                raise
            raise UserError(f"the configuration: {one_line(error)[:400]}") from error
        self.datamodule = self.config_init.data
        self.model = self.config_init.model

    def build_trainer(
        self, callbacks: list[Any], *, without: tuple[type, ...] = (), **arguments: Any
    ) -> Trainer:
        """Builds the trainer.

        Args:
            callbacks: Added unless the configuration has one of the same class.
            without: Classes of callbacks of the configuration that are left out.
            **arguments: Trainer arguments in place of those of the configuration.

        Raises:
            UserError: If Lightning refuses the arguments.
        """
        config = {**self.config_init.trainer, **arguments}
        own = config.get("callbacks") or []
        own = list(own) if isinstance(own, (list, tuple)) else [own]
        own = [callback for callback in own if not isinstance(callback, without)]
        config["callbacks"] = own + [
            extra for extra in callbacks if not any(isinstance(c, type(extra)) for c in own)
        ]
        try:
            trainer = Trainer(**config)
        except (ValueError, TypeError, MisconfigurationException) as error:
            # Options that exclude each other, such as FSDP on a CPU, or of another kind.
            raise UserError(f"trainer: {one_line(error)}") from error
        use_atomic_checkpoints(trainer)
        return trainer

    def save(self, path: Path, header: str) -> None:
        """Writes the configuration with every default, atomically.

        Args:
            path: The file.
            header: First line, without the comment sign.
        """
        text = self.parser.dump(self.config, skip_unset=False)
        with atomic_write(path, "w") as file:
            file.write(f"# {header}\n{text}")


def _check_numbers(value: Any, name: str = "") -> None:
    """Raises if a whole number is larger than a machine counts; what meets it says so in its own words."""
    if isinstance(value, Namespace | dict):
        items = vars(value) if isinstance(value, Namespace) else value
        for key, item in items.items():
            _check_numbers(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for item in value:
            _check_numbers(item, name)
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise UserError(f"{name} = {value:.3g} is larger than any count; give a smaller number")


def _caused_by_user(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error is not None


def _written(value: Any) -> Any:
    """Returns a configuration whose factories are class paths and arguments.

    A default may be a partial of a class, which the parser takes for something that cannot be written.
    """
    if isinstance(value, functools.partial):
        return _written(write_argument(value, "default"))
    if isinstance(value, Namespace):
        return Namespace(**{name: _written(item) for name, item in vars(value).items()})
    if isinstance(value, dict):
        items = {name: _written(item) for name, item in value.items()}
        return Namespace(**items) if "class_path" in value else items
    if isinstance(value, list | tuple):
        return type(value)(_written(item) for item in value)
    return value


def quiet() -> None:
    """Keeps Lightning from advertising and from advice that does not fit."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*you defined a `validation_step` but have no `val_dataloader`.*",
        ".*GPU available but not used.*",
        ".*callbacks used to create the checkpoint need to be provided.*",
    ):
        warnings.filterwarnings("ignore", message=message)
