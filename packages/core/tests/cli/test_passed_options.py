"""What constructors pass on by name is on the command line as if it stood in them."""

import ast
import functools
import importlib
import inspect
import json
import typing
from pathlib import Path
from typing import Any, Required

import pytest
import yaml
from jsonargparse import ArgumentParser

from headway.core.cli import main
from headway.core.cli.parts import parts
from headway.core.module import Module
from headway.core.passed import Passed, arguments
from headway.core.training import DataModule, LoaderOptions, Task, TrainingOptions

TABLE = Path(__file__).with_name("arguments.tsv")


@functools.cache
def classes() -> dict[str, type]:
    """Returns every data module and task of headway by its name."""
    found = {}
    for row in parts("datasets") + parts("tasks"):
        module, _, name = row["where"].partition(":")
        found[name] = getattr(importlib.import_module(module), name)
    return found


def offered(kind: type) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns what the command line knows of a class: defaults and help."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "it", fail_untyped=False)
    actions = {action.dest: action.help for action in parser._actions}
    defaults = parser.get_defaults().it
    return dict(vars(defaults)), {name: str(actions[f"it.{name}"]) for name in vars(defaults)}


def passed(kind: type) -> Any:
    """Returns the TypedDict of what a class passes on; None if it passes nothing on."""
    parameters = inspect.signature(kind).parameters.values()
    rest = [found for found in parameters if found.kind == inspect.Parameter.VAR_KEYWORD]
    if not rest:
        return None
    marks = getattr(rest[0].annotation, "__metadata__", ())
    assert marks, f"{kind.__name__} passes {rest[0].name} on unchecked; say Passed[Options]"
    return marks[0]


def hint(kind: type, name: str) -> Any:
    """Returns the type that the first base with such an argument gives it."""
    for base in inspect.getmro(kind)[1:]:
        hints = typing.get_type_hints(base.__init__)
        if name in hints:
            return hints[name]
    raise AssertionError(f"no base of {kind.__name__} has {name}")


def test_what_is_passed_on_is_what_a_type_checker_and_the_command_line_know() -> None:
    checked = 0
    for kind in classes().values():
        options = passed(kind)
        if options is None:
            continue
        checked += 1
        own = {
            name
            for name, found in inspect.signature(kind).parameters.items()
            if found.kind != inspect.Parameter.VAR_KEYWORD
        }
        defaults, helps = offered(kind)
        hints = typing.get_type_hints(options, include_extras=True)
        assert set(defaults) - own == set(hints), kind
        assert own.isdisjoint(hints), kind
        for name, expected in hints.items():
            if typing.get_origin(expected) is Required:
                expected = typing.get_args(expected)[0]
            assert hint(kind, name) == expected, (kind, name)
            assert helps[name] not in ("None", ""), (kind, name)
    assert checked > 30


def test_the_options_are_those_of_the_bases() -> None:
    for base, options, own in (
        (DataModule, LoaderOptions, {"batch_size"}),
        (Task, TrainingOptions, {"backbone"}),
    ):
        assert set(inspect.signature(base).parameters) - own == set(options.__annotations__)


def test_published_arguments_and_defaults_stay() -> None:
    """The table was written when every constructor listed all of its arguments itself."""
    known = {name: offered(kind)[0] for name, kind in classes().items()}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        kind, name, default = line.split("\t")
        assert repr(known[kind][name]) == default, (kind, name)


def test_the_configuration_of_an_old_run_is_read_and_new_ones_are_as_complete(
    tmp_path: Path, capsys
) -> None:
    told: dict[str, Any] = {"Digits": {}, "Transcription": {}}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        kind, name, default = line.split("\t")
        if kind in told:
            told[kind][name] = ast.literal_eval(default)
    told["Digits"] |= {"seed": 3, "eval_batch_size": 5, "mean": [0.5], "std": [0.5]}
    told["Transcription"] |= {
        "backbone": {
            "class_path": "headway.speech.models.pretrained",
            "init_args": {"source": "run"},
        },
        "optimizer": {"class_path": "headway.core.training.SGD", "init_args": {"lr": 0.1}},
        "ema": 0.9,
    }
    old = {
        "data": {"class_path": "headway.vision.data.Digits", "init_args": told["Digits"]},
        "model": {
            "class_path": "headway.speech.tasks.Transcription",
            "init_args": told["Transcription"],
        },
    }
    file = tmp_path / "config.yaml"
    file.write_text(json.dumps(old))
    assert main(["fit", "-c", str(file), "--print_config"]) == 0
    new = yaml.safe_load(capsys.readouterr().out)
    for section, own in (("data", told["Digits"]), ("model", told["Transcription"])):
        written = new[section]["init_args"]
        assert set(own) <= set(written)
        for name in ("seed", "eval_batch_size", "workers", "val", "ema", "layer_decay"):
            assert written.get(name) == own.get(name)


@pytest.mark.parametrize(
    ("section", "path", "word", "meant"),
    [
        ("data", "headway.vision.data.Digits", "wrokers", "workers"),
        ("data", "headway.vision.data.Digits", "augmnt", "augment"),
        ("data", "headway.timeseries.data.ImputationData", "context_lenght", "context_length"),
        ("model", "headway.speech.tasks.Transcription", "layer_decy", "layer_decay"),
    ],
)
def test_a_misspelt_argument_of_a_base_is_explained(
    section: str, path: str, word: str, meant: str, tmp_path: Path, capsys
) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(f"{section}:\n  class_path: {path}\n  init_args:\n    {word}: 1\n")
    assert main(["fit", "-c", str(recipe)]) == 2
    said = capsys.readouterr().err
    assert f"has no option '{word}'" in said
    assert f"did you mean '{meant}'?" in said


def test_a_misspelt_argument_of_a_function_is_explained(capsys) -> None:
    words = ["fit", "-c", "vision/finetune", "--data.path=x", "--model.backbone.nmu_classes=3"]
    assert main(words) == 2
    assert "did you mean 'num_classes'?" in capsys.readouterr().err


def test_a_wrong_part_of_a_base_is_explained(tmp_path: Path, capsys) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "model:\n  class_path: headway.speech.tasks.Transcription\n  init_args:\n"
        "    optimizer: {class_path: AdmW}\n"
    )
    assert main(["fit", "-c", str(recipe)]) == 2
    assert "there is no class 'AdmW'; did you mean 'AdamW'?" in capsys.readouterr().err


def test_callers_are_told_of_arguments_that_are_not_there() -> None:
    from headway.vision.data import Digits

    with pytest.raises(TypeError, match="wrokers"):
        Digits(wrokers=1)  # pyright: ignore[reportCallIssue]


class OfBase(typing.TypedDict, total=False):
    kept: int
    decided: int


class Some(typing.TypedDict, total=False):
    kept: int


class Base(Module):
    def __init__(self, *, kept: int = 1, decided: int = 2) -> None:
        super().__init__()


class Middle(Base):
    def __init__(self, *, own: int = 3, **rest: Passed[OfBase]) -> None:
        super().__init__(**rest)


class Top(Middle):
    def __init__(self, **rest: Passed[Some]) -> None:
        super().__init__(own=4, decided=5, **rest)


def test_what_a_class_decides_for_its_base_is_not_among_its_arguments() -> None:
    """Two bases up, too: a record with such an argument could not be read back."""
    assert arguments(Top).keys() == {"kept"} == Top(kept=7).init_args.keys()
    assert arguments(Middle).keys() == {"own", "kept", "decided"}
