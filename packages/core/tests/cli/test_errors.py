"""Wrong use is one line that says what, where and the nearest right name."""

import pytest

from headway.core.cli import main


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # runs stand in the working directory

    def run(*words: object, code: int = 2) -> str:
        assert main([str(word) for word in words]) == code
        text = capsys.readouterr().err
        assert text.count("\n") == 1, text
        return text

    return run


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("depth: 2", "dpth: 2", ["ToyModel", "'dpth'", "'depth'", "toy.yaml:8"]),
        ("max_epochs", "max_epoch", ["trainer", "'max_epoch'", "'max_epochs'", "toy.yaml:15"]),
        ("warmup", "warm", ["WarmupCosine", "'warm'", "'warmup'", "toy.yaml:10"]),
        ("backbone:", "backbon:", ["ToyTask", "'backbon'", "'backbone'", "toy.yaml:8"]),
        ("batch_size", "batchsize", ["ToyData", "'batchsize'", "'batch_size'", "toy.yaml:13"]),
        ("AdamW", "Adamw", ["model.optimizer", "'Adamw'", "'AdamW'", "toy.yaml:9"]),
        ("headway_toy.ToyTask", "ToyTsk", ["model", "'ToyTsk'", "'ToyTask'", "toy.yaml:6"]),
        ("headway_toy.ToyModel", "headway.no.ToyModl", ["'headway.no.ToyModl'", "toy.yaml:8"]),
        ("trainer:", "traner:", ["'traner'", "'trainer'", "toy.yaml:14"]),
        ("lr: 0.01", "lr: fast", ["model.optimizer.lr", "fast", "float", "toy.yaml:9"]),
        ("lr: 0.01", "", ["AdamW needs lr"]),
        ("lr: 0.01", "lr: -1", ["lr is -1.0", "above 0"]),
        ("{class_path: AdamW,", "{{class_path: AdamW,", ["toy.yaml:", "no YAML"]),
    ],
)
def test_wrong_recipe(refused, recipe, tmp_path, old, new, parts):
    recipe.write_text(recipe.read_text().replace(old, new))
    text = refused("fit", "-c", recipe, "--runs", tmp_path / "runs")
    for part in parts:
        assert part in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--trainer.max_epoch", "3"], ["max_epoch", "trainer.max_epochs"]),
        (["--trainer.max_epochs", "three"], ["three", "int", "[--trainer.max_epochs]"]),
        (["--model.backbone.dpth", "3"], ["'dpth'", "'depth'", "[--model.backbone.dpth]"]),
        (["--nonsense", "1"], ["--nonsense"]),
        (["--seed_everything", "-1"], ["seed_everything", "-1"]),
        (["--trainer.accumulate_grad_batches", "9" * 30], ["accumulate_grad_batches = 1e+30"]),
        (["--trainer.devices", "0"], ["trainer:", "devices"]),
    ],
)
def test_wrong_override(refused, recipe, words, parts):
    text = refused("fit", "-c", recipe, *words)
    for part in parts:
        assert part in text


def test_mistake_that_shows_late_leaves_no_run_folder(refused, recipe, tmp_path):
    words = ["--model.layer_decay", "1.5", "--runs", tmp_path / "runs"]
    assert "layer_decay is 1.5" in refused("fit", "-c", recipe, *words)
    assert not list((tmp_path / "runs" / "toy").iterdir())


def test_unknown_names_list_close_ones(refused, monkeypatch, recipe):
    from headway.core.cli import recipes

    known = {
        name: recipes.Recipe(name, recipe) for name in ("vision/vit_digits", "vision/vit_cifar")
    }
    monkeypatch.setattr(recipes, "recipes", lambda: known)
    assert "'vision/vit_digits'" in refused("fit", "-c", "vision/vit_digit")
    assert "'vision/vit_digits'" in refused("cp", "vit_digits", "x.yaml")
    assert "'fit'" in refused("fot")
    assert "--resume" in refused("fit")
    assert "no such folder" in refused("fit", "--resume", "nowhere")
    assert "nowhere" in refused("test", "-m", "nowhere")


def test_failure_is_one_line_with_its_type_and_the_traceback_is_on_demand(
    refused, recipe, tmp_path, monkeypatch
):
    import headway_toy

    def broken(self, batch, index):
        raise RuntimeError("a tensor\nhas the wrong shape")

    monkeypatch.setattr(headway_toy.ToyTask, "training_step", broken)
    words = ["fit", "-c", str(recipe), "--runs", str(tmp_path)]
    assert "RuntimeError: a tensor has the wrong shape" in refused(*words, code=1)
    monkeypatch.setenv("HEADWAY_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        main(words)


def test_help_for_a_class_that_is_not_there_is_one_line(refused, recipe, tmp_path):
    text = refused("fit", "-c", recipe, "--runs", tmp_path / "runs", "--model.help", "ToyTsk")
    assert "there is no class 'ToyTsk'" in text
    assert "'ToyTask'" in text


@pytest.mark.parametrize("path", ["x" * 300, "a\0b", "loop"])
@pytest.mark.parametrize(
    "words",
    [
        "fit -c",
        "predict x.png -m",
        "transcribe x.wav --plot",
        "predict --domain vision",
    ],
)
def test_paths_that_can_be_no_file(refused, words, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    assert "is the path of no file" in refused(*words.split(), path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rollout -m x --seed -1", "--seed -1 is no whole number from 0 to"),
        (f"sample -m x --seed {2**64}", "is no whole number from 0 to 4,294,967,295"),
        (f"sample -m x -n {10**12}", "is above 100,000,000"),
        ("predict --domain vision x.png -m x --batch-size 0", "--batch-size 0 is below 1"),
    ],
)
def test_numbers_of_verbs_have_bounds(refused, words, said):
    assert said in refused(*words.split())
