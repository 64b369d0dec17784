"""Help, listings and copies answer at once."""

import json

import pytest

PROBE = """
import json, sys, time
start = time.process_time()
from headway.core.cli import main
code = main(sys.argv[1:])
heavy = [name for name in ("torch", "lightning", "jsonargparse", "numpy") if name in sys.modules]
print("PROBE" + json.dumps([code, heavy, time.process_time() - start]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["ls", "recipes"],
        ["ls", "systems", "--json"],
        ["ls", "mixers"],
        ["cp", "a", "b"],
    ],
)
def test_light_verbs_import_nothing_heavy(python, words):
    code, heavy, seconds = json.loads(python(PROBE, *words).stdout.rpartition("PROBE")[2])
    assert code == (2 if words[0] == "cp" else 0)
    assert heavy == []
    # Reading the sources for @system and mixers is the longest; the starts of Python come on top.
    assert seconds < (0.5 if words[:1] == ["--help"] or words[1] == "recipes" else 5)


@pytest.mark.parametrize(
    ("words", "extras"),
    [
        (["fit", "-c", "vision/any"], ["vision"]),
        (["fit"], ["vision", "timeseries", "rl", "speech", "molecules"]),
    ],
)
def test_missing_lightning_names_the_extras(python, words, extras, monkeypatch):
    block = "import sys; sys.modules['lightning'] = None\n"
    known = (
        "import headway.core.cli.fit as fit\n"
        "from headway.core.cli.recipes import Recipe\n"
        "from pathlib import Path\n"
        "Path('any.yaml').write_text('model: {}')\n"
        "fit.find_recipe = lambda name: Recipe(name, Path('any.yaml'))\n"
    )
    done = python(block + known + "from headway.core.cli import main; sys.exit(main())", *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "lightning" in done.stderr
    for extra in extras:
        assert f'pip install "headway[{extra}]"' in done.stderr
    assert ("speech" in done.stderr) == ("speech" in extras)
