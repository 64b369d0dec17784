import json
import sys
import types

import pytest

from headway.core.cli import main, verbs
from headway.core.plugins import Domain, Verb

calls = []


@pytest.fixture(autouse=True)
def two_domains(monkeypatch):
    """Two domains that both predict; one of them also detects."""
    calls.clear()
    offered = {}
    for name in ("vision", "speech"):
        module = types.ModuleType(f"toy_{name}")
        module.configure = lambda parser: parser.add_argument("inputs", nargs="+")
        module.run = lambda args, name=name: calls.append((name, args)) or 0
        monkeypatch.setitem(sys.modules, module.__name__, module)
        entry = Verb(module=module.__name__, help="does things")
        offered[name] = Domain(name=name, help="", verbs={"predict": entry})
    offered["vision"].verbs["detect"] = entry
    monkeypatch.setattr(verbs, "domains", lambda: offered)


@pytest.fixture
def run_of(tmp_path):
    def make(class_path):
        (tmp_path / "model").mkdir()
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints/last.ckpt").touch()
        (tmp_path / "model/config.json").write_text(json.dumps({"class_path": class_path}))
        return tmp_path

    return make


@pytest.mark.parametrize("inside", ["", "model", "checkpoints/last.ckpt", "model/config.json"])
def test_checkpoint_chooses_the_domain(run_of, inside):
    run = run_of("headway.speech.models.Whisper")
    assert main(["predict", "-m", str(run / inside), "a.wav"]) == 0
    assert calls[0][0] == "speech"


def test_recipe_of_a_run_chooses_where_nothing_is_exported(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "callbacks: [headway.core.training.RunRecorder]\nmodel: {class_path: headway.speech.tasks.CTC}"
    )
    assert main(["predict", "-m", str(tmp_path), "a.wav"]) == 0
    assert calls[0][0] == "speech"


def test_domain_is_asked_for_when_it_cannot_be_told(capsys):
    assert main(["predict", "-m", "timm/vit", "a.png"]) == 2
    assert "--domain vision or --domain speech" in capsys.readouterr().err
    assert main(["predict", "-m", "timm/vit", "a.png", "--domain", "vision"]) == 0
    assert calls[0][0] == "vision"
    assert main(["detect", "-m", "timm/vit", "a.png"]) == 0


def test_every_verb_has_the_shared_options(tmp_path):
    out = tmp_path / "out.csv"
    words = ["detect", "x", "-m", "RUN", "-o", str(out), "--on-invalid", "skip", "--device", "cpu"]
    assert main([*words, "--json"]) == 0
    args = calls[0][1]
    assert (args.inputs, args.checkpoint, args.out) == (["x"], "RUN", out)
    assert (args.on_invalid, args.device, args.json, args.overwrite) == ("skip", "cpu", True, False)


def test_existing_result_is_refused_before_any_work(tmp_path, capsys):
    out = tmp_path / "out.csv"
    out.write_text("precious")
    assert main(["detect", "x", "-o", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert calls == []
    assert main(["detect", "x", "-o", str(out), "--overwrite"]) == 0
