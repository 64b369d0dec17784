"""How configurations are read."""

import contextlib

from jsonargparse import ArgumentParser

from headway.core.cli.config import RecipeCLI, RecipeParser
from headway.core.training.recorder import RunRecorder  # noqa: F401  (the recipe names it)


def test_a_part_of_a_configuration_is_read_once(recipe, monkeypatch):
    words = ["--model.backbone=headway.core.blocks.MacaronBlock", "--model.backbone.dim=8"]
    calls: list[str] = []
    plain = ArgumentParser.parse_object

    def counted(self, *args, **options):
        calls.append("read")
        return plain(self, *args, **options)

    monkeypatch.setattr(ArgumentParser, "parse_object", counted)

    def read() -> tuple[str, int]:
        calls.clear()
        cli = RecipeCLI([recipe], [*words, "--model.backbone.heads=2"])
        return cli.parser.dump(cli.config), len(calls)

    once, few = read()
    monkeypatch.setattr(RecipeParser, "remembering", contextlib.nullcontext)
    again, many = read()
    assert once == again
    assert few < many / 2
