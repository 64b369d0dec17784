import ast
import json

import pytest

from headway.core.cli import main, recipes
from headway.core.systems import read_systems, system

SOURCE = """
from headway.core.systems import system

@system(id=7, name="Seven", paper="https://x.org/7", claim="is prime", test="tests/test_seven.py")
class Seven:
    @system(id=None, name="Inner", paper="p", claim="c", test="t")
    def method(self): raise RuntimeError("nothing of this runs")

raise RuntimeError("importing this would fail")
"""


@pytest.fixture
def package(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "seven.py").write_text(SOURCE)
    return {"headway.toy": tmp_path}


def test_systems_are_read_without_importing(package):
    first, second = read_systems(package)
    assert first == {
        "id": 7,
        "name": "Seven",
        "paper": "https://x.org/7",
        "claim": "is prime",
        "test": "tests/test_seven.py",
        "where": "headway.toy.models.seven:Seven",
    }
    assert second["where"] == "headway.toy.models.seven:Seven.method"


@pytest.mark.parametrize("change", [('"Seven"', "NAME"), ("id=7, ", "")])
def test_systems_that_cannot_be_read_are_named(package, change):
    file = package["headway.toy"] / "models" / "seven.py"
    file.write_text(SOURCE.replace(*change))
    with pytest.raises(ValueError, match=r"seven\.py:4"):
        read_systems(package)


def test_system_returns_its_object_unchanged():
    def function():
        return 3

    assert system(id=None, name="n", paper="p", claim="c", test="t")(function) is function


def test_every_system_of_headway_is_a_literal_with_an_existing_shape():
    for entry in read_systems():
        assert set(entry) == {"id", "name", "paper", "claim", "test", "where"}
        assert ast.literal_eval(repr(entry)) == entry


@pytest.fixture
def known(recipe, monkeypatch):
    found = {"vision/toy": recipes.Recipe("vision/toy", recipe)}
    monkeypatch.setattr(recipes, "recipes", lambda: found)
    monkeypatch.setattr("headway.core.cli.listing.recipes", lambda: found)


def test_recipes_show_their_header(known, capsys):
    assert main(["ls", "recipes", "vision/*", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["name"], row["about"]) == ("vision/toy", "A toy that learns to count")
    assert (row["score"], row["command"]) == ("none", "headway fit -c toy.yaml")
    assert main(["ls", "recipes", "nothing"]) == 0
    assert capsys.readouterr().out == ""


def test_copy_never_overwrites_unasked(known, tmp_path, recipe):
    target = tmp_path / "my.yaml"
    assert main(["cp", "vision/toy", str(target)]) == 0
    assert target.read_text() == recipe.read_text()
    target.write_text("mine")
    assert main(["cp", "vision/toy", str(target)]) == 2
    assert target.read_text() == "mine"
    assert main(["cp", "vision/toy", str(target), "--overwrite"]) == 0
    assert target.read_text() == recipe.read_text()


def test_a_pattern_may_leave_the_domain_out(capsys):
    assert main(["ls", "models", "deit3_small*"]) == 0
    short = capsys.readouterr().out
    assert "vision/deit3_small_patch16_224" in short
    assert main(["ls", "models", "vision/deit3_small*"]) == 0
    assert capsys.readouterr().out == short


def test_an_empty_list_says_so_beside_the_output(capsys):
    assert main(["ls", "models", "nothing_like_it", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["ls", "models", "nothing_like_it"]) == 0
    found = capsys.readouterr()
    assert (found.out, found.err) == ("", "headway: there are no models like 'nothing_like_it'\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ls foo", "invalid choice: 'foo'"),
        ("ls models --jsn", "did you mean '--json'?"),
        ("cp", "required: recipe, target"),
        ("fit -c", "expected one argument"),
        ("predict -m", "expected one argument"),
        ("predict a.png -m x --domain vision --overwite", "did you mean '--overwrite'?"),
    ],
)
def test_wrong_words_are_one_line(words, said, capsys):
    assert main(words.split()) == 2
    line = capsys.readouterr().err
    assert said in line
    assert line.startswith("headway: ")
    assert line.count("\n") == 1


BUILT = {
    "mixers": "SelfAttention",
    "feedforwards": "GLU",
    "positions": "RelativeVectors",
    "norms": "RMSNorm",
    "blocks": "MacaronBlock",
    "resamplers": "TokenMerging",
    "heads": "ClassificationHead",
    "optimizers": "AdamW",
    "schedules": "WarmupCosine",
    "datasets": "ImageFolder",
    "tasks": "Forecasting",
    "verbs": "timeseries/forecast",
}


@pytest.mark.parametrize("kind", BUILT)
def test_every_kind_of_part_is_listed_with_a_line(kind, capsys):
    assert main(["ls", kind, "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert BUILT[kind] in rows
    assert all(row["about"] for row in rows.values()), [
        n for n, r in rows.items() if not r["about"]
    ]


def test_what_cannot_be_built_is_not_listed(capsys):
    for kind, base in [
        ("datasets", "DetectionData"),
        ("tasks", "Task"),
        ("optimizers", "OptimizerFactory"),
    ]:
        assert main(["ls", kind, base]) == 0
        assert base not in capsys.readouterr().out.split()


def test_todo_names_what_the_catalogue_lacks(tmp_path, capsys):
    papers = tmp_path / "papers.tsv"
    papers.write_text("id\tname\n149\tShaw RPE\n\n# later\n99999\tUnheard of\n")
    assert main(["ls", "systems", "--todo", str(papers)]) == 0
    assert capsys.readouterr().out == "99999  Unheard of\n"
    papers.write_text("1\nseven\n")
    assert main(["ls", "systems", "--todo", str(papers)]) == 2
    assert "papers.tsv:2: starts with 'seven'" in capsys.readouterr().err
    assert main(["ls", "models", "--todo", str(papers)]) == 2
    assert "headway ls systems --todo LIST" in capsys.readouterr().err
