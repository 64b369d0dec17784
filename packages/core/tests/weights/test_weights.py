"""The own format, and files that one must not trust."""

import json
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from headway.core.errors import UserError
from headway.core.mixers import ConvolutionMixer, CrossAttention, SelfAttention
from headway.core.norms import RMSNorm
from headway.core.stacks import Decoder, Encoder, EncoderDecoder
from headway.core.weights import (
    build,
    describe,
    from_pretrained,
    load_weights,
    open_checkpoint,
    push_to_hub,
    save_pretrained,
)


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(
        16,
        3,
        4,
        mixer=[partial(ConvolutionMixer, axes=1, window=3), partial(SelfAttention, norm=RMSNorm)],
        norm=partial(RMSNorm, eps=1e-3),
    )


def test_a_model_comes_back_from_its_folder_bitwise(tmp_path: Path) -> None:
    model, x = encoder(), torch.randn(2, 5, 16)
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path)
    assert torch.equal(again(x)[0], model(x)[0])
    assert len(again.load_report.loaded) == len(model.state_dict())
    assert not again.load_report.missing
    assert again.init_args["norm"].keywords == {"eps": 1e-3}


def test_modules_as_arguments_are_described_too(tmp_path: Path) -> None:
    model = EncoderDecoder(Encoder(8, 1, 2), Decoder(8, 1, 2, cross=CrossAttention))
    config = json.loads(json.dumps(describe(model)))
    again = build(config, expected=EncoderDecoder)
    again.load_state_dict(model.state_dict())
    x = torch.randn(1, 3, 8)
    assert torch.equal(again(x, x), model(x, x))


def test_arguments_can_be_overridden(tmp_path: Path) -> None:
    save_pretrained(encoder(), tmp_path)
    again = from_pretrained(tmp_path, drop_path=0.3)
    assert again.blocks[2].mixer.drop_path.rate == 0.3


def test_a_lambda_is_refused_at_saving_with_the_remedy(tmp_path: Path) -> None:
    model = Encoder(8, 1, 2, norm=lambda dim: RMSNorm(dim))
    with pytest.raises(UserError, match=r"norm=.*functools\.partial"):
        save_pretrained(model, tmp_path)
    assert not list(tmp_path.iterdir())


class Foreign(nn.Module):
    ran = False

    def __init__(self) -> None:
        Foreign.ran = True
        super().__init__()


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "antigravity.Anything"])
def test_a_foreign_class_is_not_even_imported(path: str, tmp_path: Path, monkeypatch) -> None:
    import builtins
    import sys

    before = set(sys.modules)
    (tmp_path / "config.json").write_text(json.dumps({"class_path": path, "init_args": {}}))
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    real = builtins.__import__
    monkeypatch.setattr(
        builtins,
        "__import__",
        lambda name, *a, **k: real(name, *a, **k) if name != "antigravity" else 1 / 0,
    )
    with pytest.raises(UserError, match=f"names {path}, which is not part of headway"):
        from_pretrained(tmp_path)
    assert "antigravity" not in set(sys.modules) - before


def test_a_foreign_class_inside_a_headway_model_is_refused() -> None:
    config = {
        "class_path": "headway.core.stacks.Encoder",
        "init_args": {"dim": 8, "depth": 1, "heads": 2, "norm": {"class_path": "os.PathLike"}},
    }
    with pytest.raises(UserError, match="names os.PathLike"):
        build(config)


def test_a_headway_path_that_leads_outside_is_refused() -> None:
    # core.weights.checkpoint imports pathlib.Path: the name alone must not open it.
    with pytest.raises(UserError, match="leads to pathlib"):
        build({"class_path": "headway.core.weights.checkpoint.Path", "init_args": {}})
    with pytest.raises(UserError, match="is not a Module"):
        build({"class_path": "headway.core.layout.Layout", "init_args": {}})


def test_allow_opens_a_named_class() -> None:
    path = f"{Foreign.__module__}.Foreign"
    with pytest.raises(UserError, match="not part of headway"):
        build({"class_path": path, "init_args": {}})


def test_pickled_code_is_never_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (Path.write_text, (tmp_path / "owned", "x"))

    for name in ("evil.pt", "evil.bin", "evil.ckpt"):
        torch.save({"state_dict": {"w": torch.zeros(1)}, "extra": Evil()}, tmp_path / name)
        with pytest.raises(UserError, match="more than tensors.*never executed"):
            _ = open_checkpoint(tmp_path / name).state
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UserError):
        _ = open_checkpoint(tmp_path / "raw.pt").state
    assert not (tmp_path / "owned").exists()


def test_a_checkpoint_of_a_task_gives_the_averaged_model_without_what_is_the_tasks(
    tmp_path: Path,
) -> None:
    model = encoder()
    save_pretrained(model, tmp_path / "model")
    state = {f"backbone.{name}": value for name, value in model.state_dict().items()}
    averaged = {name: value + 1 for name, value in state.items()}
    (tmp_path / "checkpoints").mkdir()
    torch.save(
        {
            "state_dict": {**state, "loss.weights": torch.ones(3)},
            "average": {"updates": 3, "tensors": averaged},
        },
        tmp_path / "checkpoints" / "last.ckpt",
    )
    again = from_pretrained(tmp_path / "checkpoints" / "last.ckpt")
    assert not again.load_report.unexpected
    for name, value in again.state_dict().items():
        torch.testing.assert_close(value, averaged[f"backbone.{name}"])


def test_damaged_files_are_named(tmp_path: Path) -> None:
    save_pretrained(encoder(), tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: is not JSON"):
        from_pretrained(tmp_path)


def test_missing_sources_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file or folder ./nowhere"):
        from_pretrained("./nowhere")
    with pytest.raises(UserError, match="holds no weights"):
        from_pretrained(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match="no file of weights"):
        from_pretrained(tmp_path / "notes.txt")


def test_a_checkpoint_of_another_model_is_one_clear_line_and_loads_nothing() -> None:
    model = encoder()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    other = {f"x.{name}": value for name, value in before.items()}
    with pytest.raises(UserError, match="checkpoint of another model: it lacks"):
        load_weights(model, other, source="theirs")
    wrong = dict(before, **{"norm.weight": torch.ones(17)})
    with pytest.raises(UserError, match=r"norm.weight is \(17,\) there and \(16,\) here"):
        load_weights(model, wrong, source="theirs")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    save_file({"strange": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="of no known format; known: own folders.*timm"):
        from_pretrained(tmp_path)


def test_push_to_hub_uploads_weights_configuration_and_a_card(tmp_path: Path) -> None:
    class Api:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            self.created = (name, private)

        def upload_folder(self, *, repo_id: str, folder_path: str) -> str:
            self.files = {p.name: p.read_bytes() for p in Path(folder_path).iterdir()}
            return f"https://hub/{repo_id}"

    api = Api()
    push_to_hub(
        encoder(), "me/mine", license="mit", description="An encoder.", metrics={"top1": 0.5},
        preprocessing={"classes": ["a"]}, private=True, api=api,
    )  # fmt: skip
    assert api.created == ("me/mine", True)
    assert set(api.files) == {"config.json", "model.safetensors", "preprocessing.json", "README.md"}
    card = api.files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: headway\nlicense: mit")
    assert "| top1 | 0.5000 |" in card


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/hostname", "..", "a/../../x", ""])
def test_an_index_that_names_files_outside_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    save_pretrained(encoder(), folder)
    (folder / "model.safetensors").rename(tmp_path / "other.safetensors")
    index = {"weight_map": {"final_norm.weight": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="index.json names files outside its folder"):
        open_checkpoint(folder)
