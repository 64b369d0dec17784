"""Files of CTranslate2: the layout as its converter writes it, whole numbers multiplied out, damage refused."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import small_whisper as small
import torch
from torch import Tensor

from headway.core.errors import UserError
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, open_checkpoint
from headway.speech.models.whisper import Whisper

TYPES = {torch.float32: 0, torch.int8: 1, torch.int16: 2, torch.float16: 4}


def text(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def packed(tensors: dict[str, Tensor], version: int = 6) -> bytes:
    """Returns a file of CTranslate2, written as its layout says."""
    data = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name in sorted(tensors):
        value = tensors[name].detach()
        data += text(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        raw = value.numpy().tobytes()
        data += struct.pack("<BI", TYPES[value.dtype], len(raw)) + raw
    data += (
        struct.pack("<I", 1) + text("decoder/projection/weight") + text("decoder/embeddings/weight")
    )
    return data


def converted(model: Any) -> dict[str, Tensor]:
    """Returns the tensors of a model of transformers as the converter names and joins them."""
    body = model.model
    found: dict[str, Tensor] = {"decoder/embeddings/weight": body.decoder.embed_tokens.weight}
    for name in ("conv1", "conv2"):
        part = getattr(body.encoder, name)
        found |= {f"encoder/{name}/weight": part.weight, f"encoder/{name}/bias": part.bias}

    def linear(name: str, *parts: Any) -> None:
        found[f"{name}/weight"] = torch.cat([part.weight for part in parts])
        biases = [torch.zeros(32) if part.bias is None else part.bias for part in parts]
        found[f"{name}/bias"] = torch.cat(biases)

    def norm(name: str, part: Any) -> None:
        found.update({f"{name}/gamma": part.weight, f"{name}/beta": part.bias})

    for side in ("encoder", "decoder"):
        stack = getattr(body, side)
        found[f"{side}/position_encodings/encodings"] = stack.embed_positions.weight
        found[f"{side}/num_heads"] = torch.tensor(2, dtype=torch.int16)
        norm(f"{side}/layer_norm", stack.layer_norm)
        for place, layer in enumerate(stack.layers):
            at, own = f"{side}/layer_{place}", layer.self_attn
            norm(f"{at}/self_attention/layer_norm", layer.self_attn_layer_norm)
            linear(f"{at}/self_attention/linear_0", own.q_proj, own.k_proj, own.v_proj)
            linear(f"{at}/self_attention/linear_1", own.out_proj)
            norm(f"{at}/ffn/layer_norm", layer.final_layer_norm)
            linear(f"{at}/ffn/linear_0", layer.fc1)
            linear(f"{at}/ffn/linear_1", layer.fc2)
            if side == "decoder":
                other = layer.encoder_attn
                norm(f"{at}/attention/layer_norm", layer.encoder_attn_layer_norm)
                linear(f"{at}/attention/linear_0", other.q_proj)
                linear(f"{at}/attention/linear_1", other.k_proj, other.v_proj)
                linear(f"{at}/attention/linear_2", other.out_proj)
    found["decoder/activation"] = torch.tensor(3, dtype=torch.int8)
    return found


def folder_of(folder: Path, data: bytes) -> Path:
    folder.mkdir()
    config = {
        "suppress_ids": [3],
        "suppress_ids_begin": [0],
        "alignment_heads": [[0, 1], [1, 0]],
        "lang_ids": [15],
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(small.tokenizer_json()), encoding="utf-8")
    (folder / "model.bin").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small.make_whisper(tmp_path_factory.mktemp("peer"))


def test_a_file_answers_as_the_model_that_it_was_made_of(peer: Any, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", packed(converted(peer)))
    check_round_trip(folder, tmp_path / "back")
    again = (tmp_path / "back" / "model.bin").read_bytes()
    assert again == (folder / "model.bin").read_bytes()
    ours = from_pretrained(folder).eval()
    assert isinstance(ours, Whisper)
    assert (ours.front_end.filling, ours.begin_suppressed) == ("zeros", (0,))
    inputs, tokens = small.features(3), torch.arange(12).view(3, 4)
    wanted = peer(input_features=inputs, decoder_input_ids=tokens).logits
    torch.testing.assert_close(ours(inputs.transpose(1, 2), tokens), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", [torch.int8, torch.int16, torch.float16])
def test_narrow_weights_are_multiplied_out(kind: torch.dtype, peer: Any, tmp_path: Path) -> None:
    tensors, name = converted(peer), "decoder/layer_1/ffn/linear_0/weight"
    value, most = tensors[name].detach(), 127 if kind is torch.int8 else 1023
    if kind is torch.float16:
        tensors[name], step = value.half(), value.abs().max() / 1000
    else:
        # A scale for each row, or one for all: the same numbers after division.
        loudest = value.abs().amax(1) if kind is torch.int8 else value.abs().max()
        scale = most / loudest
        tensors[f"{name}_scale"] = scale
        tensors[name] = (value * (scale[:, None] if scale.ndim else scale)).round().to(kind)
        step = 0.51 * loudest.max() / most
    folder = folder_of(tmp_path / "model", packed(tensors))
    found = open_checkpoint(folder).state[name].float()
    assert 0 < (found - value).abs().max() <= step
    assert isinstance(from_pretrained(folder), Whisper)


def test_damaged_and_other_files_are_refused_in_one_line(peer: Any, tmp_path: Path) -> None:
    tensors = converted(peer)
    whole = packed(tensors)
    scaleless = {**tensors, "decoder/embeddings/weight": torch.zeros(75, 32, dtype=torch.int8)}
    cases = {
        "ends too early": whole[:-40],
        "more in it": whole + b"\0",
        "version 3": packed(tensors, version=3),
        "has 9 bytes": whole.replace(
            struct.pack("<BIBI", 1, 32, 0, 128), struct.pack("<BIBI", 1, 32, 0, 9), 1
        ),
        "without a scale": packed(scaleless),
        "not known": whole.replace(
            struct.pack("<B2IB", 2, 75, 32, 0), struct.pack("<B2IB", 2, 75, 32, 77)
        ),
    }
    for place, (message, data) in enumerate(cases.items()):
        folder = folder_of(tmp_path / str(place), data)
        with pytest.raises(UserError, match=message) as error:
            from_pretrained(folder)
        assert "\n" not in str(error.value)
    for cut in range(0, 400, 7):
        (tmp_path / "0" / "model.bin").write_bytes(whole[:cut])
        with pytest.raises(UserError):
            from_pretrained(tmp_path / "0")
