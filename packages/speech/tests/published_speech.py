"""Small published speech models with a processor, and what holds for each that is read."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from headway.core.weights import from_pretrained, open_checkpoint
from headway.core.weights.pretrained import find_adapter

TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C", "D")
# Nothing is drawn, so that training mode and gradients can be compared.
STILL = dict.fromkeys(
    (
        "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout",
        "layerdrop", "mask_time_prob",
    ),
    0.0,
)  # fmt: skip


def stirred(model: nn.Module, factor: float = 8.0) -> nn.Module:
    """Changes what starts at zero or one or leaves attention uniform: it would hide an error in it."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1 or "const" in name or "original0" in name:
                parameter.add_(0.2 * torch.randn_like(parameter).abs())
            elif ".layers." in name:
                parameter.mul_(factor)
    return model


def published(model: nn.Module, folder: Path, *, normalise: bool = True) -> Path:
    """Saves a model of transformers with a processor beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = {token: number for number, token in enumerate(TOKENS)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise)
    transformers.Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)  # pyright: ignore
    return folder


def check_gradients(folder: Path, ours: nn.Module, theirs: nn.Module) -> None:
    """Asserts that every parameter of ours has the gradient of theirs."""
    checkpoint = open_checkpoint(folder)
    table = find_adapter(checkpoint).table(checkpoint, ours)
    peers = {name: one.grad for name, one in theirs.named_parameters() if one.grad is not None}
    wanted = table.to_ours(peers)
    found = {name: one.grad for name, one in ours.named_parameters() if one.grad is not None}
    assert found.keys() <= wanted.keys()
    assert len(found) == len(list(ours.parameters()))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, wanted[name], atol=1e-5, rtol=1e-5, msg=name)


def check_alone(model: Any, inputs: Tensor, lengths: Tensor) -> None:
    """Asserts that each item gives alone what it gives in a batch padded with NaN, gradients too."""
    model = model.double().eval()
    inputs = inputs.double()
    mask = torch.arange(inputs.shape[1]) < lengths[:, None]
    mask = mask if inputs.ndim == 2 else mask[..., None]
    found, tokens, *_ = model.encode(inputs.masked_fill(~mask, float("nan")), lengths)
    seeds = [torch.randn(int(n), found.shape[2], dtype=found.dtype) for n in tokens]
    model.zero_grad()
    sum((found[i, : len(seed)] * seed).sum() for i, seed in enumerate(seeds)).backward()  # pyright: ignore
    together = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    for item, seed in enumerate(seeds):
        alone, [count], *_ = model.encode(inputs[item : item + 1, : int(lengths[item])])
        assert count == tokens[item] == alone.shape[1]
        torch.testing.assert_close(found[item, : len(seed)], alone[0], atol=1e-5, rtol=1e-5)
        (alone[0] * seed).sum().backward()
    for name, parameter in model.named_parameters():
        if name in together:
            assert parameter.grad is not None
            torch.testing.assert_close(together[name], parameter.grad, atol=1e-5, rtol=1e-5)


def read(folder: Path) -> Any:
    """Returns our model of a folder; nothing in it is left over or missing."""
    model = from_pretrained(folder)
    assert model.load_report.missing == model.load_report.unexpected == ()  # pyright: ignore
    return model
